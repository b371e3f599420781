//! Locks that were obtained, and what can be done with them.
//! A grant never says that it *is* valid — the answer would be old before it is used — only
//! until when it is, and when it was lost.

use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::sync::{Mutex, watch};
use tokio::time::Instant;

#[cfg(feature = "etcd")]
use crate::etcd;
#[cfg(feature = "postgres")]
use crate::postgres_advisory;
#[cfg(feature = "redis")]
use crate::redlock;
#[cfg(feature = "zookeeper")]
use crate::zookeeper;
use crate::{Lease, LockError, Resource, Token, observe};

/// What [`Grant::release`] found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Released {
    /// The lock was ours until now.
    WasOurs,
    /// The lock had gone before, by expiry or with its nodes; nothing of anybody else's was touched.
    WasGone,
}

/// What a backend hands out.
#[derive(Debug)]
pub(crate) struct Lent {
    pub(crate) owner: Arc<str>,
    /// One for each resource of the request, in its order.
    pub(crate) tokens: Vec<Option<Token>>,
    pub(crate) valid_until: Instant,
    pub(crate) held: Held,
}

/// What a backend needs to extend a lock and to give it back.
#[derive(Debug)]
pub(crate) enum Held {
    Off,
    #[cfg(feature = "redis")]
    Redlock(redlock::Held),
    #[cfg(feature = "etcd")]
    Etcd(etcd::Held),
    #[cfg(feature = "zookeeper")]
    Zookeeper(zookeeper::Held),
    #[cfg(feature = "postgres")]
    PostgresAdvisory(Box<postgres_advisory::Held>),
}

impl Held {
    /// May be cancelled; [`Held::give_up`] finishes the work then.
    async fn release(&self) -> Result<Released, LockError> {
        match self {
            Self::Off => Ok(Released::WasOurs),
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
    fn give_up(self, runtime: &Handle) {
        match self {
            Self::Off => {}
            #[cfg(feature = "redis")]
            Self::Redlock(held) => held.give_up(runtime),
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
struct Term {
    valid_until: Instant,
    lease: Lease,
    lost: bool,
}

/// One acquisition: what [`Grant`] and [`Grants`] have in common.
#[derive(Debug)]
pub(crate) struct Holding {
    backend: &'static str,
    resources: Arc<[Resource]>,
    tokens: Vec<Option<Token>>,
    owner: Arc<str>,
    since: Instant,
    term: watch::Sender<Term>,
    /// One extension at a time, so that `valid_until` is that of the last one the nodes saw.
    extending: Mutex<()>,
    /// `None` once released or abandoned.
    held: Option<Held>,
    runtime: Handle,
}

impl Holding {
    /// Must be called inside a runtime: a dropped grant is released in a task of it.
    pub(crate) fn new(backend: &'static str, resources: Arc<[Resource]>, lease: Lease, lent: Lent) -> Self {
        Self {
            backend,
            resources,
            tokens: lent.tokens,
            owner: lent.owner,
            since: Instant::now(),
            term: watch::Sender::new(Term { valid_until: lent.valid_until, lease, lost: false }),
            extending: Mutex::new(()),
            held: Some(lent.held),
            runtime: Handle::current(),
        }
    }

    fn valid_until(&self) -> Instant {
        let term = self.term.borrow().valid_until;
        let session = self.held.as_ref().and_then(Held::session_until);
        session.map_or(term, |session| session.min(term))
    }

    fn kept_for(&self) -> Duration {
        let lease = self.term.borrow().lease;
        self.held.as_ref().map_or(lease.get(), |held| held.kept_for(lease))
    }

    async fn lost(&self) {
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

    async fn session_lost(&self) {
        match &self.held {
            Some(held) => held.session_lost().await,
            None => std::future::pending().await,
        }
    }

    async fn extend(&self, lease: Lease) -> Result<(), LockError> {
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
                observe::lost(self.backend);
            }
            Err(_) => {}
        }
        outcome.map(|_| ())
    }

    async fn release(mut self) -> Result<Released, LockError> {
        let outcome = match &self.held {
            Some(held) => held.release().await,
            None => Ok(Released::WasGone),
        };
        // Only now: until here a cancelled release is finished by the drop.
        self.held = None;
        observe::held(self.backend, self.since.elapsed());
        outcome
    }

    fn abandon(mut self) {
        if let Some(held) = self.held.take() {
            held.abandon(&self.runtime);
        }
    }
}

impl Drop for Holding {
    fn drop(&mut self) {
        if let Some(held) = self.held.take() {
            held.give_up(&self.runtime);
            observe::held(self.backend, self.since.elapsed());
        }
    }
}

/// A lock on one resource. Got from [`Locks::try_lock`](crate::Locks::try_lock).
///
/// Dropping it releases it on all nodes in a detached task; [`release`](Self::release) does so
/// at once and tells whether it was still ours.
#[derive(Debug)]
#[must_use = "a grant that is dropped is released"]
pub struct Grant(Holding);

impl Grant {
    pub(crate) fn new(holding: Holding) -> Self {
        Self(holding)
    }

    /// The fencing token, where the backend issues them. Hand it to the storage with every
    /// claim and write.
    pub fn token(&self) -> Option<Token> {
        self.0.tokens[0]
    }

    /// What is locked.
    pub fn resource(&self) -> &Resource {
        &self.0.resources[0]
    }

    /// Who holds it: a name that is never used for another acquisition.
    pub fn owner(&self) -> &str {
        &self.0.owner
    }

    /// Until when the lock may be relied upon, as seen by this machine's clock: the lease
    /// without what acquiring took and without the allowance for clock drift.
    ///
    /// A process can be paused right after looking: this narrows the window, only the fencing
    /// token closes it.
    pub fn valid_until(&self) -> Instant {
        self.0.valid_until()
    }

    /// How long the backend keeps the lock if nothing is heard of us any more: the lease that was
    /// really got. At least what was asked for; etcd counts in whole seconds, and ZooKeeper keeps the
    /// locks of a client for as long as its session.
    pub fn kept_for(&self) -> Duration {
        self.0.kept_for()
    }

    /// Resolves when the lock cannot be relied upon any more: at [`valid_until`](Self::valid_until),
    /// or earlier when an extension found that it was gone.
    ///
    /// # Cancel safety
    /// Safe: nothing is lost by dropping the future and asking again.
    ///
    /// # Example
    /// ```
    /// # tokio::runtime::Runtime::new()?.block_on(async {
    /// # use std::time::Duration;
    /// # use fenced_lock::{Lease, Locks, Resource, Wait};
    /// # let locks = Locks::off();
    /// # let (sku, lease) = (Resource::new("sku:42")?, Lease::new(Duration::from_millis(50))?);
    /// # let grant = locks.try_lock(&sku, Wait::none(), lease).await?.expect("off grants everybody");
    /// tokio::select! {
    ///     () = grant.lost() => println!("too late: whatever is written now, the storage must refuse"),
    ///     () = std::future::pending() => println!("the work is done"),
    /// }
    /// # Ok::<_, Box<dyn std::error::Error>>(()) })?;
    /// # Ok::<_, Box<dyn std::error::Error>>(())
    /// ```
    pub async fn lost(&self) {
        self.0.lost().await;
    }

    /// Replaces the lease, counted from now; a shorter one too.
    ///
    /// # Errors
    /// [`LockError::Lost`] when a quorum of the nodes does not hold it for us any more: an
    /// expired lock is never created again, that would need a new token.
    /// [`LockError::QuorumUnavailable`] when that could not be found out; the lock then lasts
    /// until [`valid_until`](Self::valid_until).
    ///
    /// # Cancel safety
    /// Some nodes may have the new lease; `valid_until` is the earlier of both ends then.
    ///
    /// # Example
    /// ```
    /// # tokio::runtime::Runtime::new()?.block_on(async {
    /// # let servers = testbed::redis_nodes(3).await?;
    /// # let nodes = fenced_lock::Nodes::parse(&servers.iter().map(|node| node.url()).collect::<Vec<_>>().join(","))?;
    /// # let locks = fenced_lock::Locks::redlock(nodes, fenced_lock::Options::default());
    /// use std::time::Duration;
    /// use fenced_lock::{Lease, Resource, Wait};
    ///
    /// let (sku, second) = (Resource::new("sku:42")?, Lease::new(Duration::from_secs(1))?);
    /// let grant = locks.try_lock(&sku, Wait::none(), second).await?.expect("nobody else is here");
    /// let first_end = grant.valid_until();
    /// grant.extend(Lease::new(Duration::from_secs(60))?).await?;
    /// assert!(grant.valid_until() > first_end, "the same grant, the same token, more time");
    /// # Ok::<_, Box<dyn std::error::Error>>(()) })?;
    /// # Ok::<_, Box<dyn std::error::Error>>(())
    /// ```
    pub async fn extend(&self, lease: Lease) -> Result<(), LockError> {
        self.0.extend(lease).await
    }

    /// Gives the lock back and tells whether it was still ours. Wakes whoever waits for it.
    ///
    /// # Errors
    /// [`LockError::QuorumUnavailable`] when too few nodes answered to tell. The release has been
    /// sent to all of them, and what it did not reach ends with the lease.
    ///
    /// # Cancel safety
    /// Once polled, or dropped, the lock is released in any case.
    pub async fn release(self) -> Result<Released, LockError> {
        self.0.release().await
    }

    /// Neither extends nor releases: the lease lapses by itself.
    ///
    /// For the outcome that nobody heard: a write was sent and no answer came, so nobody else
    /// should be let in early.
    ///
    /// # Example
    /// ```
    /// # tokio::runtime::Runtime::new()?.block_on(async {
    /// # let servers = testbed::redis_nodes(3).await?;
    /// # let nodes = fenced_lock::Nodes::parse(&servers.iter().map(|node| node.url()).collect::<Vec<_>>().join(","))?;
    /// # let locks = fenced_lock::Locks::redlock(nodes, fenced_lock::Options::default());
    /// use std::time::Duration;
    /// use fenced_lock::{Lease, Resource, Wait};
    ///
    /// let (sku, lease) = (Resource::new("sku:42")?, Lease::new(Duration::from_secs(60))?);
    /// locks.try_lock(&sku, Wait::none(), lease).await?.expect("nobody else is here").abandon();
    /// assert!(locks.try_lock(&sku, Wait::none(), lease).await?.is_none(), "for a minute nobody gets in");
    /// # Ok::<_, Box<dyn std::error::Error>>(()) })?;
    /// # Ok::<_, Box<dyn std::error::Error>>(())
    /// ```
    pub fn abandon(self) {
        self.0.abandon();
    }
}

/// Locks on several resources, obtained together and given back together. Got from
/// [`Locks::try_lock_all`](crate::Locks::try_lock_all).
///
/// Dropping it releases them on all nodes in a detached task.
#[derive(Debug)]
#[must_use = "grants that are dropped are released"]
pub struct Grants(Holding);

impl Grants {
    pub(crate) fn new(holding: Holding) -> Self {
        Self(holding)
    }

    /// The resources with their tokens, in the order of their names.
    pub fn iter(&self) -> impl Iterator<Item = (&Resource, Option<Token>)> {
        self.0.resources.iter().zip(self.0.tokens.iter().copied())
    }

    /// The fencing token of `resource`; `None` as well when it is not among the locked.
    pub fn token_of(&self, resource: &Resource) -> Option<Token> {
        let position = self.0.resources.binary_search(resource).ok()?;
        self.0.tokens[position]
    }

    /// Who holds them: a name that is never used for another acquisition.
    pub fn owner(&self) -> &str {
        &self.0.owner
    }

    /// Until when all of the locks may be relied upon. See [`Grant::valid_until`].
    pub fn valid_until(&self) -> Instant {
        self.0.valid_until()
    }

    /// How long the backend keeps the locks if nothing is heard of us. See [`Grant::kept_for`].
    pub fn kept_for(&self) -> Duration {
        self.0.kept_for()
    }

    /// Resolves when one of the locks cannot be relied upon any more. See [`Grant::lost`].
    ///
    /// # Cancel safety
    /// As [`Grant::lost`].
    pub async fn lost(&self) {
        self.0.lost().await;
    }

    /// Replaces the lease of all of them. See [`Grant::extend`].
    ///
    /// # Errors
    /// As [`Grant::extend`]; one lost lock is enough.
    ///
    /// # Cancel safety
    /// As [`Grant::extend`].
    pub async fn extend(&self, lease: Lease) -> Result<(), LockError> {
        self.0.extend(lease).await
    }

    /// Gives all of them back; [`Released::WasGone`] when one of them was not ours any more.
    ///
    /// # Errors
    /// As [`Grant::release`].
    ///
    /// # Cancel safety
    /// As [`Grant::release`].
    pub async fn release(self) -> Result<Released, LockError> {
        self.0.release().await
    }

    /// Neither extends nor releases. See [`Grant::abandon`].
    pub fn abandon(self) {
        self.0.abandon();
    }
}
