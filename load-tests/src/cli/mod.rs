//! The command line: arguments (`args`), and the plans that they mean (`plan`).

mod args;
mod plan;

pub use args::{AuditArgs, Cli, Command, CostArgs, RunArgs, ServeArgs, SoakArgs, StackArgs, StackConfigArgs};

#[cfg(test)]
mod tests;
