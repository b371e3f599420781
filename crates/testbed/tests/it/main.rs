//! The testbed against real servers, as child processes and in containers.

mod each_mode;
mod leftovers;
mod process;
mod proxy;
mod servers;
mod usage;
