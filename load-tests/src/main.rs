//! Wiring only: reads the arguments, runs the subcommand, returns its exit status.

use std::io::IsTerminal as _;
use std::process::ExitCode;

use clap::Parser as _;
use load_tests::cli::{self, Cli};
use load_tests::commands::{self, exit_status};
use tracing_subscriber::EnvFilter;

#[tokio::main]
async fn main() -> ExitCode {
    let cli = Cli::try_parse().unwrap_or_else(|error| cli::exit(&error));
    // Postgres sends notices when a fault crashes it on purpose; they are not worth a line.
    let filter =
        EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("warn,sqlx::postgres::notice=off"));
    let colours = std::io::stderr().is_terminal();
    tracing_subscriber::fmt().with_writer(std::io::stderr).with_ansi(colours).with_env_filter(filter).init();
    match commands::execute(cli.command).await {
        Ok(status) => ExitCode::from(status),
        Err(error) => {
            // One line: what failed, and the chain of its causes.
            eprintln!("oversell: {error:#}");
            ExitCode::from(exit_status::VOID)
        }
    }
}
