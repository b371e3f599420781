//! Locks that were obtained, and what can be done with them.
//! A grant never says that it *is* valid — the answer would be old before it is used — only
//! until when it is, and when it was lost.

use std::time::Duration;

use tokio::time::Instant;

pub(crate) use crate::grant_inner::{Acquired, GrantInner, HeldLock};
use crate::{Lease, LockError, Resource, Token};

/// What [`Grant::release`] found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReleaseOutcome {
    /// The lock was ours until now.
    Released,
    /// The lock had gone before, by expiry or with its nodes; nothing of anybody else's was touched.
    NotHeld,
}

/// A lock on one resource. Got from [`Locks::try_lock`](crate::Locks::try_lock).
///
/// Dropping it releases it on all nodes in a detached task; [`release`](Self::release) does so
/// at once and tells whether it was still ours.
#[derive(Debug)]
#[must_use = "a grant that is dropped is released"]
pub struct Grant(GrantInner);

impl Grant {
    pub(crate) fn new(inner: GrantInner) -> Self {
        Self(inner)
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
    pub async fn release(self) -> Result<ReleaseOutcome, LockError> {
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
pub struct Grants(GrantInner);

impl Grants {
    pub(crate) fn new(inner: GrantInner) -> Self {
        Self(inner)
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

    /// Gives all of them back; [`ReleaseOutcome::NotHeld`] when one of them was not ours any more.
    ///
    /// # Errors
    /// As [`Grant::release`].
    ///
    /// # Cancel safety
    /// As [`Grant::release`].
    pub async fn release(self) -> Result<ReleaseOutcome, LockError> {
        self.0.release().await
    }

    /// Neither extends nor releases. See [`Grant::abandon`].
    pub fn abandon(self) {
        self.0.abandon();
    }
}
