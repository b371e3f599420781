//! What is to be run: strategies, faults, load and the stack they need, and what theory expects of them.
//!
//! Absence: no I/O but reading a scenario file.

pub mod file;
pub mod limits;
pub mod load;
pub mod plan;
pub mod theory;
