//! Distributed locks that issue fencing tokens.
//!
//! ```no_run
//! # async fn demo() -> Result<(), Box<dyn std::error::Error>> {
//! use std::time::Duration;
//! use fenced_lock::{Lease, Locks, Nodes, Options, Resource, Wait};
//!
//! let nodes = Nodes::parse("redis://127.0.0.1:7001,redis://127.0.0.1:7002,redis://127.0.0.1:7003")?;
//! let locks = Locks::redlock(nodes, Options::default());
//! let (sku, lease) = (Resource::new("sku:42")?, Lease::new(Duration::from_secs(10))?);
//!
//! match locks.try_lock(&sku, Wait::up_to(Duration::from_secs(2)), lease).await? {
//!     None => println!("somebody else has it"),
//!     Some(grant) => {
//!         println!("token {:?}", grant.token());
//!         grant.release().await?;
//!     }
//! }
//! # Ok(()) }
//! ```
//!
//! # What it promises
//!
//! * A grant is given only when a quorum of the *configured* nodes has agreed, and something of the
//!   lease is left after drift: `validity = lease − elapsed − (lease × 1 % + 2 ms)`.
//! * Tokens of one resource are unique, and whoever starts acquiring after another had been granted
//!   gets a higher one, as long as no majority of the nodes loses its memory at the same time.
//! * Whatever does not end in a grant leaves nothing behind on the nodes that can be reached, be it
//!   refused, failed, timed out, cancelled or dropped. Elsewhere the lease ends it.
//! * Dead and silent minorities are not waited for.
//!
//! # What no lock can promise
//!
//! That nobody else has it *now*. A process can be paused between looking and acting for longer than
//! any lease. The storage must refuse the older token; then the lock keeps people from colliding, and
//! the token makes collisions harmless.
//!
//! Sources: Redis documentation, "Distributed Locks with Redis"; Martin Kleppmann, "How to do
//! distributed locking".
//!
//! # Giving back twice does not compile
//!
//! ```compile_fail,E0382
//! # async fn demo(grant: fenced_lock::Grant) {
//! let _ = grant.release().await;
//! let _ = grant.release().await;
//! # }
//! ```
//!
//! This crate knows nothing of what is protected: no stock, no HTTP, no database schema.

mod backend;
mod election;
mod error;
mod grant;
mod grant_inner;
mod holder;
mod lease;
mod locks;
mod metrics;
mod nodes;
mod options;
mod queue;
mod resource;
mod token;
mod wait;
mod watchdog;

#[cfg(any(feature = "etcd", feature = "zookeeper", feature = "postgres"))]
pub use backend::address::InvalidAddress;
#[cfg(feature = "etcd")]
pub use backend::etcd::EtcdEndpoints;
#[cfg(feature = "postgres")]
pub use backend::postgres::AdvisoryDatabase;
#[cfg(feature = "zookeeper")]
pub use backend::zookeeper::ZookeeperEnsemble;
pub use election::{Election, Leadership, Observer};
pub use error::{Cause, LockError, NodeError};
pub use grant::{Grant, Grants, ReleaseOutcome};
pub use holder::Holder;
pub use lease::{Lease, LeaseOutOfRange};
pub use locks::Locks;
pub use nodes::{InvalidNodes, NodeUrl, Nodes};
pub use options::{ClientName, CounterTtl, InvalidOption, NodeTimeout, Options};
pub use resource::{InvalidResource, Resource};
pub use token::{Token, TokenOutOfRange};
pub use wait::Wait;

/// The examples of the README, compiled.
#[cfg(all(doctest, feature = "redis"))]
#[doc = include_str!("../README.md")]
struct Readme;
