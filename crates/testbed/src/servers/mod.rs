//! The servers, one file each, and their common lifecycle in `server`.

mod etcd;
mod instance;
mod pgbench;
mod pgbouncer;
mod postgres;
mod readiness;
mod redis;
pub(crate) mod server;
mod zookeeper;

pub use self::redis::{RedisNode, redis_cluster, redis_command, redis_nodes, single_shard_nodes};
pub use etcd::Etcd;
pub use pgbench::{PgBench, PgBenchResult};
pub use pgbouncer::{PgBouncer, Pooling};
pub use postgres::{Postgres, PostgresOptions};
pub use zookeeper::Zookeeper;
