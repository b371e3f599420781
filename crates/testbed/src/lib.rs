//! Real servers for tests and experiments: Redis nodes, Postgres, etcd and ZooKeeper, as child processes or as
//! containers, each with temporary data; PgBouncer, pgbench; a TCP proxy that injects network faults; and any other
//! program as a child process, or run once to see which configuration it refuses.
//!
//! Invariant: nothing that was started here outlives the process that started it, however that process ends:
//! success, failure, panic, a signal, SIGKILL (see `src/processes/watchdog.rs`).
//! Absence: no mocks, and nothing of Holdfast's own: neither locks nor stock.

mod configured_program;
mod containers;
mod error;
mod folder;
mod mode;
mod ports;
mod processes;
mod proxy;
mod servers;

pub use configured_program::{ConfiguredProgram, Ended, NumberSetting};
pub use error::TestbedError;
pub use folder::Folder;
pub use mode::Mode;
pub use ports::free as free_port;
pub use processes::{Process, ProcessSpec};
pub use proxy::Proxy;
pub use servers::{
    Etcd, PgBench, PgBenchResult, PgBouncer, Pooling, Postgres, PostgresOptions, RedisNode, Zookeeper, redis_cluster,
    redis_command, redis_nodes, single_shard_nodes,
};
