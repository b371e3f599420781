//! Child processes of this process: how they are found, started, signalled, logged and certain to end.

pub(crate) mod account;
pub(crate) mod binary;
pub(crate) mod child;
mod process;
pub(crate) mod watchdog;

pub use process::{Process, ProcessSpec};
