//! The interface between `Locks` and its backends: how a lock is taken, read, extended and released.
//!
//! Traits instead of an enum of the backends: an enum would import every backend here, while every
//! backend imports this file. No backend is named here.

use std::fmt::Debug;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use tokio::runtime::Handle;
use tokio::time::Instant;

use crate::cleanups::Cleanups;
use crate::request::Request;
use crate::{Holder, Lease, LockError, ReleaseOutcome, Resource, Token, UnsuitableNode};

/// How often the holder is read where the backend does not report changes.
const POLL_INTERVAL: Duration = Duration::from_millis(250);

/// What an operation of a backend returns.
pub(crate) type LockFuture<'a, T> = BoxFuture<'a, Result<T, LockError>>;

/// Resolves when the holder may have changed, so that reading it again is worthwhile.
pub(crate) type Notification = BoxFuture<'static, ()>;

/// The notification of a backend that does not report changes: it resolves after a pause.
pub(crate) fn poll_later() -> Notification {
    tokio::time::sleep(POLL_INTERVAL).boxed()
}

/// One lock service, or several nodes that form a quorum.
pub(crate) trait LockBackend: Debug + Send + Sync {
    /// The backend's name in errors and metrics.
    fn name(&self) -> &'static str;

    /// Tries until granted; `None` when another caller still holds the lock at the deadline.
    ///
    /// # Cancel safety
    /// May be dropped at any await. Every key that was obtained until then is released in a detached task.
    fn acquire<'a>(&'a self, request: &'a Request) -> LockFuture<'a, Option<Acquired>>;

    /// Makes every later token of `resource` greater than `at_least`.
    fn raise_floor<'a>(&'a self, resource: &'a Resource, at_least: Token) -> LockFuture<'a, ()> {
        let _ = (resource, at_least);
        std::future::ready(Err(LockError::NoTokens { backend: self.name() })).boxed()
    }

    /// Reads the current holder, and starts watching for the next one.
    fn read_holder<'a>(&'a self, resource: &'a Resource) -> LockFuture<'a, (Option<Holder>, Notification)>;

    /// Whether a lock can be granted, as far as a request that leaves nothing behind can tell.
    fn ready(&self) -> LockFuture<'_, ()>;

    /// Whether servers that answer by now cannot vote.
    fn check_nodes(&self) -> BoxFuture<'_, Result<(), UnsuitableNode>> {
        std::future::ready(Ok(())).boxed()
    }

    /// The clean-up that runs in the background. None where a lock ends with what its holder drops.
    fn cleanups(&self) -> Cleanups {
        Cleanups::default()
    }

    /// Whether the callers of this process queue for each resource before they reach the backend.
    fn needs_local_queue(&self) -> bool {
        true
    }
}

/// A lock as a backend grants it.
#[derive(Debug)]
pub(crate) struct Acquired {
    pub(crate) owner: Arc<str>,
    /// One for each resource of the request, in its order.
    pub(crate) tokens: Vec<Option<Token>>,
    pub(crate) valid_until: Instant,
    pub(crate) held: Box<dyn HeldLock>,
}

/// What a backend needs to extend a lock and to release it.
pub(crate) trait HeldLock: Debug + Send + Sync {
    /// Replaces the lease, counted from now. Returns until when the lock is valid.
    fn extend(&self, lease: Lease) -> LockFuture<'_, Instant>;

    /// Releases the lock. May be dropped at any await; [`Self::release_detached`] then finishes the work.
    fn release(&self) -> LockFuture<'_, ReleaseOutcome>;

    /// Releases the lock in a detached task. Called from destructors: does not block, and may run outside
    /// of a task.
    fn release_detached(self: Box<Self>, runtime: &Handle);

    /// Neither extends nor releases the lock: it ends with its lease.
    fn abandon(self: Box<Self>, runtime: &Handle);

    /// How long the backend keeps the lock if it receives nothing more from this client.
    fn kept_for(&self, lease: Lease) -> Duration {
        lease.get()
    }

    /// Until when the session that the lock depends on is certain to live; `None` where the lease alone counts.
    fn session_until(&self) -> Option<Instant> {
        None
    }

    /// Resolves when that session is lost.
    fn session_lost(&self) -> BoxFuture<'_, ()> {
        std::future::pending().boxed()
    }
}
