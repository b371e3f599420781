//! Where a report comes from: enough to make the run again.

use std::process::Command;

use serde::Serialize;

/// The command, the commit and the load of the machine.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Origin {
    /// The arguments, as a shell would read them.
    pub command: String,
    /// The commit of the working copy that the program was built in, with `+` if it was changed; absent elsewhere.
    pub commit: Option<String>,
    /// The load average of the last minute when the run began, and when it ended; absent where it cannot be read.
    pub load_average: Option<[f64; 2]>,
}

impl Origin {
    /// Of a run that begins now.
    pub fn begin() -> Self {
        let load = load_average();
        Self { command: command(std::env::args()), commit: commit(), load_average: load.map(|load| [load, load]) }
    }

    /// The same run, which ends now.
    #[must_use]
    pub fn end(mut self) -> Self {
        if let (Some([_, at_end]), Some(load)) = (&mut self.load_average, load_average()) {
            *at_end = load;
        }
        self
    }
}

/// The program by its name, and every argument.
fn command(words: impl Iterator<Item = String>) -> String {
    let plain = |word: &str| word.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_=,.:/".contains(&byte));
    // The line of `stack --json` has passwords in it.
    let quoted = |word: String| match word.as_str() {
        text if text.starts_with('{') || text.contains("://") => "…".to_owned(),
        text if plain(text) && !text.is_empty() => word,
        text => format!("'{}'", text.replace('\'', r"'\''")),
    };
    let words: Vec<_> = std::iter::once("oversell".to_owned()).chain(words.skip(1).map(quoted)).collect();
    words.join(" ")
}

fn commit() -> Option<String> {
    let git = |arguments: &[&str]| {
        let output = Command::new("git").args(["-C", env!("CARGO_MANIFEST_DIR")]).args(arguments).output().ok()?;
        let text = String::from_utf8(output.stdout).ok()?;
        output.status.success().then(|| text.trim().to_owned())
    };
    let head = git(&["rev-parse", "--short=10", "HEAD"])?;
    let changed = git(&["status", "--porcelain", "--untracked-files=no"])?;
    Some(if changed.is_empty() { head } else { format!("{head}+") })
}

fn load_average() -> Option<f64> {
    std::fs::read_to_string("/proc/loadavg").ok()?.split(' ').next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_can_be_copied_into_a_shell_and_has_no_password() {
        let words =
            ["/x/oversell", "run", "--faults", "none,kill-order", "--report", "it's", "--target", "postgres://u:p@h/d"];
        let words = words.map(str::to_owned).into_iter();
        assert_eq!(command(words), r"oversell run --faults none,kill-order --report 'it'\''s' --target …");
    }
}
