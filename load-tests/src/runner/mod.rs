//! Runs experiments, measurements of cost, and soaks.

pub mod cell;
pub mod cost;
pub mod environment;
pub mod experiment;
pub mod progress;
pub mod row;
pub mod sale;
pub mod soak;
