//! What is to be run. No I/O.

pub mod file;
pub mod plan;
pub mod theory;
