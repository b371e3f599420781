//! Distributed locks that issue fencing tokens.
//!
//! This crate knows nothing of what is protected: no stock, no HTTP, no database schema.

mod error;
mod grant;
mod lease;
mod locks;
mod nodes;
mod observe;
mod off;
mod options;
mod queue;
#[cfg(feature = "redis")]
mod redis_single;
#[cfg(feature = "redis")]
mod redlock;
mod resource;
mod token;
mod wait;

pub use error::{Cause, LockError, NodeError};
pub use grant::{Grant, Grants, Released};
pub use lease::{Lease, LeaseOutOfRange};
pub use locks::Locks;
pub use nodes::{InvalidNodes, NodeUrl, Nodes};
pub use options::{ClientName, CounterTtl, InvalidOption, NodeTimeout, Options};
pub use resource::{InvalidResource, Resource};
pub use token::{Token, TokenOutOfRange};
pub use wait::Wait;
