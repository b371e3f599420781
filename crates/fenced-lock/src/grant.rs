//! Acquired locks, and what their holder can do with them.
//! A grant has no `is_valid()`, because the answer would be outdated before it is used; it reports until when
//! it is valid, and when it is lost.

use std::time::Duration;

use tokio::time::Instant;

use crate::grant_inner::GrantInner;
use crate::{Lease, LockError, ReleaseOutcome, Resource, Token};

/// A lock on one resource, acquired by [`Locks::try_lock`](crate::Locks::try_lock).
///
/// Dropping it releases it on all nodes in the background; [`release`](Self::release) does so
/// at once and reports whether it was still held.
///
/// A drop cannot wait. It sends the release to the nodes that are connected and leaves the rest to a task of the runtime in
/// which the lock was acquired. When that runtime ends first, keys may remain on any node until the lease ends. Call
/// [`Locks::close`](crate::Locks::close) before the program ends: it waits for that task.
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

    /// The locked resource.
    pub fn resource(&self) -> &Resource {
        &self.0.resources[0]
    }

    /// The holder's name, unique for each acquisition.
    pub fn owner(&self) -> &str {
        &self.0.owner
    }

    /// Until when the lock can be relied upon, by this machine's clock: the lease without the time that
    /// acquiring took and without the allowance for clock drift.
    ///
    /// A process can be paused right after this check. The check narrows that window; only the fencing
    /// token closes it.
    pub fn valid_until(&self) -> Instant {
        self.0.valid_until()
    }

    /// How long the backend keeps the lock if it receives nothing more from this client. At least the requested
    /// lease: etcd counts in whole seconds, and ZooKeeper keeps the locks of a client as long as its session.
    pub fn kept_for(&self) -> Duration {
        self.0.kept_for()
    }

    /// Resolves when the lock can no longer be relied upon: at [`valid_until`](Self::valid_until),
    /// or earlier when an extension found it gone.
    ///
    /// # Cancel safety
    /// Safe: the future can be dropped and created again.
    ///
    /// # Example
    /// ```
    /// # tokio::runtime::Runtime::new()?.block_on(async {
    /// # use std::time::Duration;
    /// # use fenced_lock::{Lease, Locks, Resource, Wait};
    /// # let locks = Locks::off();
    /// # let (sku, lease) = (Resource::new("sku:42")?, Lease::new(Duration::from_millis(50))?);
    /// # let grant = locks.try_lock(&sku, Wait::none(), lease).await?.expect("off grants every request");
    /// tokio::select! {
    ///     () = grant.lost() => println!("too late: the storage must refuse every write from now on"),
    ///     () = std::future::pending() => println!("the work is done"),
    /// }
    /// # Ok::<_, Box<dyn std::error::Error>>(()) })?;
    /// # Ok::<_, Box<dyn std::error::Error>>(())
    /// ```
    pub async fn lost(&self) {
        self.0.lost().await;
    }

    /// Replaces the lease, counted from now. The new lease may be shorter.
    ///
    /// # Errors
    /// [`LockError::Lost`] when no quorum of the nodes holds the lock for this grant any more: an
    /// expired lock is never created again, because that would need a new token.
    /// [`LockError::QuorumUnavailable`] when too few nodes answered; the lock then lasts
    /// until [`valid_until`](Self::valid_until).
    ///
    /// # Cancel safety
    /// Some nodes may have the new lease; `valid_until` is then the earlier of both ends.
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
    /// let grant = locks.try_lock(&sku, Wait::none(), second).await?.expect("the lock is free");
    /// let first_end = grant.valid_until();
    /// grant.extend(Lease::new(Duration::from_secs(60))?).await?;
    /// assert!(grant.valid_until() > first_end, "the same grant, the same token, more time");
    /// # Ok::<_, Box<dyn std::error::Error>>(()) })?;
    /// # Ok::<_, Box<dyn std::error::Error>>(())
    /// ```
    pub async fn extend(&self, lease: Lease) -> Result<(), LockError> {
        self.0.extend(lease).await
    }

    /// Releases the lock, wakes the next waiter, and reports whether the lock was still held.
    ///
    /// # Errors
    /// [`LockError::QuorumUnavailable`] when too few nodes answered. The release has been sent to all of
    /// them; on a node that it did not reach the lock ends with its lease.
    ///
    /// # Cancel safety
    /// The lock is released even if the future is dropped.
    pub async fn release(self) -> Result<ReleaseOutcome, LockError> {
        self.0.release().await
    }

    /// Neither extends nor releases the lock: it ends with its lease.
    ///
    /// For a write whose outcome is unknown: no other caller should acquire the lock while that write may
    /// still arrive.
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
    /// locks.try_lock(&sku, Wait::none(), lease).await?.expect("the lock is free").abandon();
    /// assert!(locks.try_lock(&sku, Wait::none(), lease).await?.is_none(), "locked until the lease ends");
    /// # Ok::<_, Box<dyn std::error::Error>>(()) })?;
    /// # Ok::<_, Box<dyn std::error::Error>>(())
    /// ```
    pub fn abandon(self) {
        self.0.abandon();
    }
}

/// Locks on several resources, acquired and released together. Acquired by
/// [`Locks::try_lock_all`](crate::Locks::try_lock_all).
///
/// Dropping it releases them on all nodes in the background; see [`Grant`] for what a drop cannot do.
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

    /// The fencing token of `resource`. Absent where the backend issues none, and for a resource that this
    /// grant does not cover.
    pub fn token_of(&self, resource: &Resource) -> Option<Token> {
        let position = self.0.resources.binary_search(resource).ok()?;
        self.0.tokens[position]
    }

    /// The holder's name, unique for each acquisition.
    pub fn owner(&self) -> &str {
        &self.0.owner
    }

    /// Until when all of the locks can be relied upon. See [`Grant::valid_until`].
    pub fn valid_until(&self) -> Instant {
        self.0.valid_until()
    }

    /// How long the backend keeps the locks if it receives nothing more from this client. See
    /// [`Grant::kept_for`].
    pub fn kept_for(&self) -> Duration {
        self.0.kept_for()
    }

    /// Resolves when one of the locks can no longer be relied upon. See [`Grant::lost`].
    ///
    /// # Cancel safety
    /// As [`Grant::lost`].
    pub async fn lost(&self) {
        self.0.lost().await;
    }

    /// Replaces the lease of all of them. See [`Grant::extend`].
    ///
    /// # Errors
    /// As [`Grant::extend`]; one lost lock loses all of them.
    ///
    /// # Cancel safety
    /// As [`Grant::extend`].
    pub async fn extend(&self, lease: Lease) -> Result<(), LockError> {
        self.0.extend(lease).await
    }

    /// Releases all of them; [`ReleaseOutcome::NotHeld`] when one of them was no longer held.
    ///
    /// # Errors
    /// As [`Grant::release`].
    ///
    /// # Cancel safety
    /// As [`Grant::release`].
    pub async fn release(self) -> Result<ReleaseOutcome, LockError> {
        self.0.release().await
    }

    /// Neither extends nor releases the locks. See [`Grant::abandon`].
    pub fn abandon(self) {
        self.0.abandon();
    }
}
