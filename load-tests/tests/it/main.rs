//! The laboratory against real servers and real services, and the rules of the repository. Nothing is mocked.

mod bad_input;
mod faults;
mod priced;
mod released;
mod repo_rules;
mod serve;
mod soaked;
mod state_machine;
