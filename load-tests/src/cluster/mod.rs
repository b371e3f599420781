//! What is attacked: a stack of our own or a target that is up already, its replicas and the proxies between them.

pub mod lab_client;
mod launch;
pub mod process;
mod proxies;
pub mod replica;
pub mod stack;
pub mod target;
