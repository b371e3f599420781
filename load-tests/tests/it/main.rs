//! The laboratory against real servers and real services, and the house as it stands. Nothing is mocked.

mod house;
mod serve;
