//! The client of the inventory service: the calls, and the choice of a replica.

pub mod call_error;
pub mod client;

mod balancer;
mod shared_reads;
