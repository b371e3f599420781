//! Runs experiments, measurements of cost, and soaks on a stack.
//!
//! Absence: no fault is defined here, and nothing is judged; `faults` and `report::verdict` do that.

pub mod cell;
pub mod cost;
pub mod environment;
pub mod experiment;
mod latency;
pub mod progress;
mod row;
pub mod sale;
pub mod soak;
