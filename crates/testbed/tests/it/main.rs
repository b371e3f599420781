//! The testbed against real servers.

mod servers;
