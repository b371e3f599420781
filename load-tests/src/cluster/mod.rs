//! The system under attack: a stack that this process starts, or a target that runs already; its replicas, its servers and
//! the proxies between them.

pub mod config;
pub mod lab_client;
mod launch;
pub mod process;
pub mod proxies;
pub mod replica;
pub mod servers;
pub mod stack;
pub mod target;
