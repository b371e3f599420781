//! The laboratory against real servers and real services, and the house as it stands. Nothing is mocked.

mod bad_input;
mod faults;
mod house;
mod priced;
mod released;
mod serve;
mod soaked;
mod state_machine;
