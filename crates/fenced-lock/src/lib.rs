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
//!     None => println!("the lock is held by another caller"),
//!     Some(grant) => {
//!         println!("token {:?}", grant.token());
//!         grant.release().await?;
//!     }
//! }
//! # Ok(()) }
//! ```
//!
//! # Guarantees
//!
//! * A lock is granted only when a quorum of the *configured* nodes has agreed and part of the lease is left
//!   after drift: `validity = lease − elapsed − (lease × 1 % + 2 ms)`.
//! * Tokens of one resource are unique, and an acquisition that starts after another one was granted gets a
//!   higher token, as long as no majority of the nodes loses its memory at the same time.
//! * An acquisition that is refused, fails, times out, is cancelled or is dropped leaves nothing behind on the
//!   nodes that can be reached. On the others its keys expire with the lease. The clean-up runs in the background, for as
//!   long as the runtime does: a program calls [`Locks::close`] before it ends.
//! * A dead or unresponsive minority does not delay an acquisition.
//!
//! # What no lock can guarantee
//!
//! That the holder is still the only one *now*. A process can be paused between its check and its write for
//! longer than any lease. The storage must therefore refuse the older token: the lock reduces collisions, and
//! the token makes the remaining ones harmless.
//!
//! Sources: Redis documentation, "Distributed Locks with Redis"; Martin Kleppmann, "How to do
//! distributed locking".
//!
//! # Releasing twice does not compile
//!
//! ```compile_fail,E0382
//! # async fn demo(grant: fenced_lock::Grant) {
//! let _ = grant.release().await;
//! let _ = grant.release().await;
//! # }
//! ```
//!
//! Absence: nothing about the protected data: no stock, no HTTP, no database schema.

mod backend;
// Locks in Postgres end with their session, so nothing is cleaned up there.
#[cfg_attr(
    not(any(feature = "redis", feature = "etcd", feature = "zookeeper")),
    expect(dead_code, reason = "only these backends start clean-up")
)]
mod cleanups;
mod election;
mod error;
mod grant;
mod grant_inner;
mod holder;
mod lease;
mod lock_backend;
mod locks;
mod metrics;
mod nodes;
mod options;
mod queue;
mod release_outcome;
mod request;
mod resource;
mod token;
mod wait;
mod watchdog;

pub use backend::*;
pub use cleanups::CleanupIncomplete;
pub use election::{Election, Leadership, Observer};
pub use error::{LockError, NodeError};
pub use failure_kind::FailureKind;
pub use grant::{Grant, Grants};
pub use holder::Holder;
pub use lease::{Lease, LeaseOutOfRange};
pub use locks::Locks;
pub use nodes::{InvalidNodes, NodeUrl, Nodes, UnsuitableNode};
pub use options::{ClientName, CounterTtl, InvalidOption, NodeTimeout, Options};
pub use release_outcome::ReleaseOutcome;
pub use resource::{InvalidResource, Resource};
pub use token::{Token, TokenOutOfRange};
pub use wait::Wait;
