//! The servers, a file each, and what they share: `server` starts, stops and pauses any of them.

mod etcd;
mod instance;
mod postgres;
mod readiness;
mod redis;
pub(crate) mod server;
mod zookeeper;

pub use self::redis::{RedisNode, redis_nodes};
pub use etcd::Etcd;
pub use postgres::{Postgres, PostgresOptions};
pub use zookeeper::Zookeeper;
