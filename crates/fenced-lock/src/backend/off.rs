//! No lock at all, behind the same interface: every request is granted at once, without a token.
//! It exists to show what happens without a lock; nothing here protects anything.

use std::sync::Arc;

use futures_util::FutureExt as _;
use tokio::runtime::Handle;
use tokio::time::Instant;

use crate::lock_backend::{Acquired, HeldLock, LockBackend, LockFuture, Notification, poll_later};
use crate::request::Request;
use crate::{Holder, Lease, Locks, Options, ReleaseOutcome, Resource};

impl Locks {
    /// No lock: every request is granted at once, without a token.
    pub fn off() -> Self {
        Self::new(Arc::new(Off), &Options::default())
    }
}

#[derive(Debug)]
struct Off;

impl LockBackend for Off {
    fn name(&self) -> &'static str {
        "off"
    }

    fn acquire<'a>(&'a self, request: &'a Request) -> LockFuture<'a, Option<Acquired>> {
        let acquired = Acquired {
            owner: "off".into(),
            tokens: vec![None; request.resources.len()],
            valid_until: Instant::now() + request.lease.usable(),
            held: Box::new(NoLock),
        };
        std::future::ready(Ok(Some(acquired))).boxed()
    }

    fn read_holder<'a>(&'a self, _resource: &'a Resource) -> LockFuture<'a, (Option<Holder>, Notification)> {
        std::future::ready(Ok((None, poll_later()))).boxed()
    }

    fn ready(&self) -> LockFuture<'_, ()> {
        std::future::ready(Ok(())).boxed()
    }

    fn needs_local_queue(&self) -> bool {
        false
    }
}

/// What a grant of [`Off`] holds.
#[derive(Debug)]
struct NoLock;

impl HeldLock for NoLock {
    fn extend(&self, lease: Lease) -> LockFuture<'_, Instant> {
        std::future::ready(Ok(Instant::now() + lease.usable())).boxed()
    }

    fn release(&self) -> LockFuture<'_, ReleaseOutcome> {
        std::future::ready(Ok(ReleaseOutcome::Released)).boxed()
    }

    fn release_detached(self: Box<Self>, _runtime: &Handle) {}

    fn abandon(self: Box<Self>, _runtime: &Handle) {}
}
