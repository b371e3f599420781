//! Child processes of this process: how they are found, started, signalled, logged and certain to end.

pub(crate) mod account;
pub(crate) mod binary;
pub(crate) mod child;
pub(crate) mod log;
mod process;
pub(crate) mod stop_policy;
pub(crate) mod watchdog;

pub use process::{Process, ProcessSpec};
