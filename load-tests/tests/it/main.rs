//! The laboratory against real servers and real services, and the rules of this repository. Nothing is mocked.

mod bad_input;
mod cost;
mod faults;
mod first_order;
mod live;
mod live_in_browser;
mod release;
mod repo_rules;
mod retention;
mod small_stack;
mod soak;
mod state_machine;
mod terminal;
mod usage;
