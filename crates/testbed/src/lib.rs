//! Real servers for tests and experiments: Redis nodes, Postgres, etcd, ZooKeeper, as throw-away child processes or
//! as containers, a TCP proxy that breaks connections on demand, and any other child process kept on a leash.
//!
//! Invariant: nothing that was started here outlives the process that started it, however that process ends:
//! success, failure, panic, a signal, SIGKILL (see `src/watchdog.rs`).
//! Absence: no mocks, and nothing of Holdfast's own; this crate knows neither locks nor stock.

mod account;
mod child;
mod container;
mod docker;
mod error;
mod etcd;
mod find;
mod folder;
mod mode;
mod ports;
mod postgres;
mod process;
mod proxy;
mod ready;
mod redis_node;
mod server;
mod watchdog;
mod zookeeper;

pub use error::TestbedError;
pub use etcd::Etcd;
pub use folder::Folder;
pub use mode::Mode;
pub use postgres::{Postgres, PostgresOptions};
pub use process::{Process, ProcessSpec};
pub use proxy::Proxy;
pub use redis_node::{RedisNode, redis_nodes};
pub use zookeeper::Zookeeper;
