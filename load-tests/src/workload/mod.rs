//! The orders of an attack: every strategy of a cell at the same time, each on SKUs of its own, over all replicas of
//! order.
//!
//! Invariant: exactly as many orders as were planned, each under its own key; a retry uses the key of its order.
//! Absence: no number of the verdict is counted by a sender; the histories are the whole result.

pub mod attack;
mod closed;
pub mod duplicates;
pub mod history;
pub mod history_file;
mod open;
pub mod operation;
pub mod outcome;
mod quiet_stdout;
mod request;
pub mod tally;

pub use attack::{Attack, Workload};
pub use duplicates::DuplicateMode;
