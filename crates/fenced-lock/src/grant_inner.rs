//! What [`Grant`](crate::Grant) and [`Grants`](crate::Grants) have in common: the held lock, its validity,
//! and the transitions extend, release, abandon and drop. Nothing here is public, and nothing here
//! acquires a lock.

use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::sync::{Mutex, watch};
use tokio::time::Instant;

use crate::cleanups::Cleanups;
use crate::lock_backend::{Acquired, HeldLock};
use crate::{Lease, LockError, ReleaseOutcome, Resource, Token, metrics};

/// How long a grant is valid, as known now.
#[derive(Clone, Copy, Debug)]
struct Validity {
    until: Instant,
    lease: Lease,
    lost: bool,
}

/// One acquisition.
#[derive(Debug)]
pub(crate) struct GrantInner {
    backend: &'static str,
    pub(crate) resources: Arc<[Resource]>,
    pub(crate) tokens: Vec<Option<Token>>,
    pub(crate) owner: Arc<str>,
    acquired_at: Instant,
    validity: watch::Sender<Validity>,
    /// One extension at a time, so that `valid_until` belongs to the last one that the nodes executed.
    extending: Mutex<()>,
    /// `None` once released or abandoned.
    held: Option<Box<dyn HeldLock>>,
    cleanups: Cleanups,
    runtime: Handle,
}

impl GrantInner {
    /// Must be called inside a runtime: a dropped grant is released in a task of it.
    pub(crate) fn new(
        backend: &'static str,
        resources: Arc<[Resource]>,
        lease: Lease,
        acquired: Acquired,
        cleanups: Cleanups,
    ) -> Self {
        Self {
            backend,
            resources,
            tokens: acquired.tokens,
            owner: acquired.owner,
            acquired_at: Instant::now(),
            validity: watch::Sender::new(Validity { until: acquired.valid_until, lease, lost: false }),
            extending: Mutex::new(()),
            held: Some(acquired.held),
            cleanups,
            runtime: Handle::current(),
        }
    }

    pub(crate) fn valid_until(&self) -> Instant {
        let lease_end = self.validity.borrow().until;
        let session_end = self.held.as_ref().and_then(|held| held.session_until());
        session_end.map_or(lease_end, |session_end| session_end.min(lease_end))
    }

    pub(crate) fn kept_for(&self) -> Duration {
        let lease = self.validity.borrow().lease;
        self.held.as_ref().map_or(lease.get(), |held| held.kept_for(lease))
    }

    pub(crate) async fn lost(&self) {
        let mut changes = self.validity.subscribe();
        loop {
            let validity = *changes.borrow_and_update();
            if validity.lost || Instant::now() >= validity.until {
                return;
            }
            tokio::select! {
                () = tokio::time::sleep_until(validity.until) => {}
                // The sender lives in self, which is borrowed during this wait.
                _ = changes.changed() => {}
                () = self.session_lost() => return,
            }
        }
    }

    async fn session_lost(&self) {
        match &self.held {
            Some(held) => held.session_lost().await,
            None => std::future::pending().await,
        }
    }

    pub(crate) async fn extend(&self, lease: Lease) -> Result<(), LockError> {
        let _one_at_a_time = self.extending.lock().await;
        if self.validity.borrow().lost {
            return Err(LockError::Lost { resource: self.resources[0].clone() });
        }
        let Some(held) = &self.held else {
            return Ok(());
        };
        // A shorter lease may reach some nodes although the extension as a whole fails or is
        // cancelled: until it succeeds only the earlier of both ends can be relied upon.
        let at_worst = Instant::now() + lease.usable();
        self.validity.send_modify(|validity| validity.until = validity.until.min(at_worst));
        let outcome = held.extend(lease).await;
        match &outcome {
            Ok(valid_until) => self.validity.send_modify(|validity| {
                validity.until = *valid_until;
                validity.lease = lease;
            }),
            Err(LockError::Lost { .. }) => {
                self.validity.send_modify(|validity| validity.lost = true);
                metrics::record_loss(self.backend);
            }
            Err(_) => {}
        }
        outcome.map(|_| ())
    }

    pub(crate) async fn release(mut self) -> Result<ReleaseOutcome, LockError> {
        // Kept until self is dropped, which finishes a release that is cancelled.
        let _running = self.cleanups.start_call();
        let outcome = match &self.held {
            Some(held) => held.release().await,
            None => Ok(ReleaseOutcome::NotHeld),
        };
        // Cleared only now: a release that is cancelled above is finished by the destructor.
        self.held = None;
        metrics::record_hold(self.backend, self.acquired_at.elapsed());
        outcome
    }

    pub(crate) fn abandon(mut self) {
        if let Some(held) = self.held.take() {
            held.abandon(&self.runtime);
        }
    }
}

impl Drop for GrantInner {
    fn drop(&mut self) {
        if let Some(held) = self.held.take() {
            held.release_detached(&self.runtime);
            metrics::record_hold(self.backend, self.acquired_at.elapsed());
        }
    }
}
