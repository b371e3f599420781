//! What a grant is made of, whatever the backend: who holds, until when, and how it is extended and
//! given back. Nothing here is public, and nothing here takes a lock.

use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::sync::{Mutex, watch};
use tokio::time::Instant;

#[cfg(feature = "etcd")]
use crate::backend::etcd;
#[cfg(feature = "postgres")]
use crate::backend::postgres;
#[cfg(feature = "redis")]
use crate::backend::redlock;
#[cfg(feature = "zookeeper")]
use crate::backend::zookeeper;
use crate::{Lease, LockError, ReleaseOutcome, Resource, Token, metrics};

/// What a backend hands out.
#[derive(Debug)]
pub(crate) struct Acquired {
    pub(crate) owner: Arc<str>,
    /// One for each resource of the request, in its order.
    pub(crate) tokens: Vec<Option<Token>>,
    pub(crate) valid_until: Instant,
    pub(crate) held: HeldLock,
}

/// What a backend needs to extend a lock and to give it back.
#[derive(Debug)]
pub(crate) enum HeldLock {
    Off,
    #[cfg(feature = "redis")]
    Redlock(redlock::QuorumLock),
    #[cfg(feature = "etcd")]
    Etcd(etcd::QueueEntry),
    #[cfg(feature = "zookeeper")]
    Zookeeper(zookeeper::QueueEntry),
    #[cfg(feature = "postgres")]
    PostgresAdvisory(Box<postgres::SessionLock>),
}

impl HeldLock {
    /// May be cancelled; [`HeldLock::release_detached`] finishes the work then.
    async fn release(&self) -> Result<ReleaseOutcome, LockError> {
        match self {
            Self::Off => Ok(ReleaseOutcome::Released),
            #[cfg(feature = "redis")]
            Self::Redlock(held) => held.release().await,
            #[cfg(feature = "etcd")]
            Self::Etcd(held) => Box::pin(held.release()).await,
            #[cfg(feature = "zookeeper")]
            Self::Zookeeper(held) => Box::pin(held.release()).await,
            #[cfg(feature = "postgres")]
            Self::PostgresAdvisory(held) => Box::pin(held.release()).await,
        }
    }

    async fn extend(&self, lease: Lease) -> Result<Instant, LockError> {
        match self {
            Self::Off => Ok(Instant::now() + lease.usable()),
            #[cfg(feature = "redis")]
            Self::Redlock(held) => held.extend(lease).await,
            #[cfg(feature = "etcd")]
            Self::Etcd(held) => Box::pin(held.extend(lease)).await,
            #[cfg(feature = "zookeeper")]
            Self::Zookeeper(held) => Box::pin(held.extend(lease)).await,
            #[cfg(feature = "postgres")]
            Self::PostgresAdvisory(held) => Box::pin(held.extend(lease)).await,
        }
    }

    /// Releases in a detached task. Called from drops: must not block, may run outside of a task.
    #[cfg_attr(not(feature = "redis"), expect(unused_variables, reason = "the others know their runtime"))]
    fn release_detached(self, runtime: &Handle) {
        match self {
            Self::Off => {}
            #[cfg(feature = "redis")]
            Self::Redlock(held) => held.release_detached(runtime),
            #[cfg(feature = "etcd")]
            Self::Etcd(held) => drop(held),
            #[cfg(feature = "zookeeper")]
            Self::Zookeeper(held) => drop(held),
            // Closes the session.
            #[cfg(feature = "postgres")]
            Self::PostgresAdvisory(held) => drop(held),
        }
    }

    /// Leaves the lock to its lease.
    #[cfg_attr(not(feature = "postgres"), expect(unused_variables, reason = "only a session must be kept open"))]
    fn abandon(self, runtime: &Handle) {
        match self {
            Self::Off => {}
            #[cfg(feature = "redis")]
            Self::Redlock(held) => drop(held),
            #[cfg(feature = "etcd")]
            Self::Etcd(held) => held.abandon(),
            #[cfg(feature = "zookeeper")]
            Self::Zookeeper(held) => held.abandon(),
            #[cfg(feature = "postgres")]
            Self::PostgresAdvisory(held) => held.abandon(runtime),
        }
    }

    /// How long the backend keeps the lock of a holder that fell silent.
    fn kept_for(&self, lease: Lease) -> Duration {
        match self {
            Self::Off => lease.get(),
            #[cfg(feature = "redis")]
            Self::Redlock(_) => lease.get(),
            #[cfg(feature = "etcd")]
            Self::Etcd(held) => held.kept_for(),
            #[cfg(feature = "zookeeper")]
            Self::Zookeeper(held) => held.kept_for(lease.get()),
            #[cfg(feature = "postgres")]
            Self::PostgresAdvisory(_) => lease.get(),
        }
    }

    /// Until when the session is certain that the lock lives in, where there is one that is renewed
    /// apart from the lease.
    fn session_until(&self) -> Option<Instant> {
        match self {
            Self::Off => None,
            #[cfg(feature = "redis")]
            Self::Redlock(_) => None,
            #[cfg(feature = "etcd")]
            Self::Etcd(_) => None,
            #[cfg(feature = "zookeeper")]
            Self::Zookeeper(held) => Some(held.alive_until()),
            #[cfg(feature = "postgres")]
            Self::PostgresAdvisory(_) => None,
        }
    }

    /// Resolves when that session is lost.
    async fn session_lost(&self) {
        match self {
            Self::Off => std::future::pending().await,
            #[cfg(feature = "redis")]
            Self::Redlock(_) => std::future::pending().await,
            #[cfg(feature = "etcd")]
            Self::Etcd(_) => std::future::pending().await,
            #[cfg(feature = "zookeeper")]
            Self::Zookeeper(held) => held.session_lost().await,
            #[cfg(feature = "postgres")]
            Self::PostgresAdvisory(_) => std::future::pending().await,
        }
    }
}

/// How long a grant is good for, as known now.
#[derive(Clone, Copy, Debug)]
struct Validity {
    valid_until: Instant,
    lease: Lease,
    lost: bool,
}

/// One acquisition: what [`Grant`] and [`Grants`] have in common.
#[derive(Debug)]
pub(crate) struct GrantInner {
    backend: &'static str,
    pub(crate) resources: Arc<[Resource]>,
    pub(crate) tokens: Vec<Option<Token>>,
    pub(crate) owner: Arc<str>,
    since: Instant,
    term: watch::Sender<Validity>,
    /// One extension at a time, so that `valid_until` is that of the last one the nodes saw.
    extending: Mutex<()>,
    /// `None` once released or abandoned.
    held: Option<HeldLock>,
    runtime: Handle,
}

impl GrantInner {
    /// Must be called inside a runtime: a dropped grant is released in a task of it.
    pub(crate) fn new(backend: &'static str, resources: Arc<[Resource]>, lease: Lease, acquired: Acquired) -> Self {
        Self {
            backend,
            resources,
            tokens: acquired.tokens,
            owner: acquired.owner,
            since: Instant::now(),
            term: watch::Sender::new(Validity { valid_until: acquired.valid_until, lease, lost: false }),
            extending: Mutex::new(()),
            held: Some(acquired.held),
            runtime: Handle::current(),
        }
    }

    pub(crate) fn valid_until(&self) -> Instant {
        let term = self.term.borrow().valid_until;
        let session = self.held.as_ref().and_then(HeldLock::session_until);
        session.map_or(term, |session| session.min(term))
    }

    pub(crate) fn kept_for(&self) -> Duration {
        let lease = self.term.borrow().lease;
        self.held.as_ref().map_or(lease.get(), |held| held.kept_for(lease))
    }

    pub(crate) async fn lost(&self) {
        let mut changes = self.term.subscribe();
        loop {
            let term = *changes.borrow_and_update();
            if term.lost || Instant::now() >= term.valid_until {
                return;
            }
            tokio::select! {
                () = tokio::time::sleep_until(term.valid_until) => {}
                // The sender lives in self, which is borrowed for as long as we wait.
                _ = changes.changed() => {}
                () = self.session_lost() => return,
            }
        }
    }

    pub(crate) async fn session_lost(&self) {
        match &self.held {
            Some(held) => held.session_lost().await,
            None => std::future::pending().await,
        }
    }

    pub(crate) async fn extend(&self, lease: Lease) -> Result<(), LockError> {
        let _one_at_a_time = self.extending.lock().await;
        if self.term.borrow().lost {
            return Err(LockError::Lost { resource: self.resources[0].clone() });
        }
        let Some(held) = &self.held else {
            return Ok(());
        };
        // A shorter lease may reach some nodes although the extension as a whole fails or is
        // cancelled: from here on only the earlier of both ends can be relied upon.
        let at_worst = Instant::now() + lease.usable();
        self.term.send_modify(|term| term.valid_until = term.valid_until.min(at_worst));
        let outcome = held.extend(lease).await;
        match &outcome {
            Ok(valid_until) => self.term.send_modify(|term| {
                term.valid_until = *valid_until;
                term.lease = lease;
            }),
            Err(LockError::Lost { .. }) => {
                self.term.send_modify(|term| term.lost = true);
                metrics::lost(self.backend);
            }
            Err(_) => {}
        }
        outcome.map(|_| ())
    }

    pub(crate) async fn release(mut self) -> Result<ReleaseOutcome, LockError> {
        let outcome = match &self.held {
            Some(held) => held.release().await,
            None => Ok(ReleaseOutcome::NotHeld),
        };
        // Only now: until here a cancelled release is finished by the drop.
        self.held = None;
        metrics::held(self.backend, self.since.elapsed());
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
            metrics::held(self.backend, self.since.elapsed());
        }
    }
}
