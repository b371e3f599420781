//! The client of the inventory service.

pub mod balancer;
pub mod client;
mod wire;
