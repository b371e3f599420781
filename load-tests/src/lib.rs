//! The laboratory: attacks the order service, injects faults while it sells, counts what was oversold, and judges the run.
//!
//! Invariant: every number of a verdict comes from the databases or from the history of requests and answers, and a
//! row that could not have shown overselling is void, never passed.
//! Absence: no code of the services. They are processes, reached over HTTP; their databases are read, never written.
//!
//! A module uses only modules above it in this list, which a test enforces:
//!
//! 1. [`interrupt`], `fraction`: what needs nothing else here
//! 2. [`cluster`]: the system under attack
//! 3. [`workload`]: the orders, and the history of requests and answers
//! 4. [`audit`]: reads the databases, and checks them against the history
//! 5. [`faults`]: what goes wrong, one file each
//! 6. [`scenario`]: what is to be run, and what theory expects
//! 7. [`report`]: what a run showed, and the verdict
//! 8. [`runner`]: runs a scenario
//! 9. [`live`]: the live page
//! 10. [`cli`]: the arguments, and the plans that they mean
//! 11. [`commands`]: what each subcommand does

pub mod audit;
pub mod cli;
pub mod cluster;
pub mod commands;
pub mod faults;
mod fraction;
pub mod interrupt;
pub mod live;
pub mod report;
pub mod runner;
pub mod scenario;
pub mod workload;
