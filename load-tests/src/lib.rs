//! The experiment: attack the order service, break things while it sells, count what was oversold, say the verdict.
//!
//! Invariant: every number of a verdict comes from the databases or from the history of requests and answers, and a
//! row that could not have shown overselling is void, never passed.
//! Absence: no code of the services. They are processes, met over HTTP; their databases are read, never written.

pub mod attack;
pub mod audit;
pub mod cell;
pub mod cli;
pub mod control;
pub mod cost;
pub mod experiment;
pub mod faults;
pub mod ground;
pub mod history;
pub mod interrupt;
pub mod matrix;
pub mod outcome;
pub mod oversold;
pub mod plan;
pub mod progress;
pub mod replicas;
pub mod report;
pub mod row;
pub mod sale;
pub mod scenario;
pub mod serve;
pub mod service;
pub mod soak;
pub mod stack;
pub mod strategy;
pub mod target;
pub mod theory;
pub mod verdict;
