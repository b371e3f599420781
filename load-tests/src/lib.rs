//! The experiment: attacks the order service, injects faults during the sale, counts oversold units, and reports a
//! verdict.
//!
//! Invariant: every number of a verdict comes from the databases or from the history of requests and answers, and a row
//! that could not have shown overselling is void, never passed.
//! Absence: no code of the services. They are processes behind HTTP; their databases are read, never written.

pub mod audit;
pub mod cli;
pub mod cluster;
pub mod commands;
pub mod faults;
pub mod interrupt;
pub mod live;
pub mod report;
pub mod runner;
pub mod scenario;
pub mod workload;
