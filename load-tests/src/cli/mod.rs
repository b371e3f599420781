//! The command line: arguments (`args`), the plans that they mean (`plan`), and how bad usage ends the process (`exit`).

mod args;
mod exit;
mod plan;

pub use args::{
    AuditArgs, Cli, Command, CostArgs, RunArgs, RunningStackArgs, ServeArgs, SoakArgs, StackArgs, StackConfigArgs,
};
pub use exit::exit;

#[cfg(test)]
mod tests;
