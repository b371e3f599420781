//! What each subcommand does: it starts what its arguments name, runs it, and returns the exit status of the process.
//!
//! Absence: arguments are defined in `cli`, and nothing is measured, judged or printed in detail here.

mod audit;
mod binaries;
mod cost;
pub mod exit_status;
mod first_order;
mod run;
mod running_stack;
mod serve;
mod soak;
mod stack;

use crate::cli::Command;

/// Runs a subcommand and returns the exit status.
///
/// # Errors
/// It could not be run: nothing was shown, and nothing is left running.
pub async fn execute(command: Command) -> anyhow::Result<u8> {
    match command {
        Command::Run(args) => Box::pin(run::run(*args)).await,
        Command::Stack(args) => stack::run(args).await,
        Command::Audit(args) => audit::run(args).await,
        Command::Soak(args) => Box::pin(soak::run(args)).await,
        Command::Cost(args) => Box::pin(cost::run(args)).await,
        Command::Serve(args) => serve::run(args).await,
    }
}
