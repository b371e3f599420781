//! The laboratory: attacks the order service, injects faults while it sells, counts what was oversold, and gives the
//! verdict.
//!
//! Invariant: every number of a verdict comes from the databases or from the history of requests and answers, and a
//! row that could not have shown overselling is void, never passed.
//! Absence: no code of the services. They are processes, reached over HTTP; their databases are read, never written.
//!
//! A module uses only modules above it in this list, which a test enforces:
//!
//! 1. [`interrupt`], `bad_usage`, `fraction`: what needs nothing else here
//! 2. [`cluster`]: the system under attack
//! 3. [`workload`]: the orders, and the history of requests and answers
//! 4. [`audit`]: reads the databases, and checks them against the history
//! 5. [`faults`]: what goes wrong, one file each
//! 6. [`scenario`]: what is to be run, and what theory expects
//! 7. [`report`]: what a run showed, and the verdict
//! 8. [`runner`]: runs a scenario
//! 9. [`live`]: the live page
//! 10. [`cli`]: the arguments, and the plans that they mean
//! 11. [`commands`]: what each subcommand does

pub mod audit;
mod bad_usage;
pub mod cli;
pub mod cluster;
pub mod commands;
pub mod faults;
mod fraction;
pub mod interrupt;
pub mod live;
pub mod report;
pub mod runner;
pub mod scenario;
pub mod workload;

use std::io::IsTerminal as _;
use std::process::ExitCode;

use clap::Parser as _;
use tokio::runtime::Runtime;
use tracing_subscriber::EnvFilter;

use crate::bad_usage::BadUsage;
use crate::cli::Cli;
use crate::commands::exit_status;

/// The whole program: reads the arguments, runs the subcommand, returns its exit status.
///
/// It is here and not in `main.rs` because the code of a future is generated where it is first polled: this way it is
/// generated once, with the library, and not a second time with the program.
pub fn run() -> ExitCode {
    let cli = Cli::try_parse().unwrap_or_else(|error| cli::exit(&error));
    // Faults crash Postgres and slow statements down on purpose: neither its notices nor the warnings of sqlx about slow
    // statements and connections are worth a line.
    let quiet = || EnvFilter::new("warn,sqlx=error,sqlx::postgres::notice=off");
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| quiet());
    let colours = std::io::stderr().is_terminal();
    tracing_subscriber::fmt().with_writer(std::io::stderr).with_ansi(colours).with_env_filter(filter).init();
    let executed = Runtime::new().map_err(anyhow::Error::from);
    let executed = executed.and_then(|runtime| runtime.block_on(commands::execute(cli.command)));
    match executed {
        Ok(status) => ExitCode::from(status),
        Err(error) => {
            eprintln!("oversell: {}", causes(&error));
            ExitCode::from(if error.is::<BadUsage>() { exit_status::USAGE } else { exit_status::VOID })
        }
    }
}

/// One line: what failed, and the chain of its causes. An error that repeats its cause, as those of sqlx do, is followed
/// by the causes after it.
fn causes(error: &anyhow::Error) -> String {
    error.chain().map(ToString::to_string).fold(String::new(), |line, cause| match line.ends_with(&cause) {
        true => line,
        false if line.is_empty() => cause,
        false => format!("{line}: {cause}"),
    })
}

#[cfg(test)]
mod tests {
    use anyhow::anyhow;

    #[test]
    fn an_error_that_repeats_its_cause_is_told_once() {
        let error = anyhow!("refused").context("no connection: refused").context("the database cannot be used");
        assert_eq!(super::causes(&error), "the database cannot be used: no connection: refused");
    }
}
