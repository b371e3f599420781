//! A pool of Postgres connections in which every wait has a deadline.
//!
//! A TCP connection can die without either side being told: a NAT table, a load balancer or a cable drops its packets.
//! A server can stay reachable and stop accepting writes: the old primary after a fail-over. A driver's pool hands out
//! such a connection again and again. Here a statement without an answer in time, a connection that ended and a server
//! that is read-only close the connection, and every connection that was made before is replaced when it is next needed.
//!
//! Invariant: a connection whose last statement has no answer is never handed on.
//! Absence: no statement without an answer is repeated, and nothing is logged about an outage; the caller does so.

mod executor;
mod health;
mod migration;
mod pool;
mod sessions;
mod settings;
mod shared;

pub use migration::{MigrationError, Session, migrate};
pub use pool::Pool;
pub use sessions::{SessionError, require_own_sessions};
pub use settings::PoolSettings;
pub use shared::{Shared, SharedError, Statement};
