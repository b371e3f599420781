//! Child processes: their binaries, start, signals, logs, and an end that is certain.

pub(crate) mod account;
pub(crate) mod binary;
pub(crate) mod child;
pub(crate) mod log;
mod process;
pub(crate) mod stop_policy;
pub(crate) mod watchdog;

pub use process::{Process, ProcessSpec};
