//! Ends the process because of its arguments.

use clap::error::ErrorKind;

/// Ends the process as clap does, with exit status 2 for bad usage, which is told in one line on standard error.
pub fn exit(error: &clap::Error) -> ! {
    if !error.use_stderr() || error.kind() == ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand {
        error.exit();
    }
    eprintln!("oversell: {}", one_line(error));
    std::process::exit(error.exit_code());
}

/// What clap says about the value, without usage and hints.
fn one_line(error: &clap::Error) -> String {
    let text = error.render().to_string();
    let said = text.lines().take_while(|line| !line.starts_with("Usage:") && !line.starts_with("For more information"));
    let words: Vec<_> = said.flat_map(str::split_whitespace).collect();
    words.join(" ").trim_start_matches("error: ").to_owned()
}
