//! `Locks`, the entry point: one type for every backend. What is the same for all of them lives here (sorting,
//! duplicates, the queue inside the process); how a lock is acquired does not. Each backend adds its own
//! constructor.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;
use tracing::Instrument as _;

use crate::cleanups::{CleanupIncomplete, Cleanups};
use crate::grant::{Grant, Grants};
use crate::grant_inner::GrantInner;
use crate::lock_backend::{Acquired, LockBackend, Notification};
use crate::queue::{Queues, Ticket};
use crate::request::Request;
use crate::{Holder, Lease, LockError, Options, Resource, Token, UnsuitableNode, Wait, metrics};

/// Distributed locks of one backend. Cheap to clone; clones share connections and queues.
#[derive(Clone, Debug)]
pub struct Locks {
    backend: Arc<dyn LockBackend>,
    queues: Queues,
    max_waiters: usize,
    cleanups: Cleanups,
    closed: Arc<watch::Sender<bool>>,
}

impl Locks {
    /// The most resources that one grant can cover.
    pub const MAX_RESOURCES: usize = 128;

    pub(crate) fn new(backend: Arc<dyn LockBackend>, options: &Options) -> Self {
        let (cleanups, max_waiters) = (backend.cleanups(), options.max_waiters().get());
        Self { backend, queues: Queues::default(), max_waiters, cleanups, closed: Arc::default() }
    }

    /// The name of the backend, as used in metrics.
    pub fn backend(&self) -> &'static str {
        self.backend.name()
    }

    /// Acquires the lock on `resource`, waiting for up to `wait` while another caller holds it.
    ///
    /// `None` means that another caller still held it when the wait ended.
    ///
    /// # Errors
    /// [`LockError::QuorumUnavailable`] when too few nodes answered within the node timeout, or
    /// [`LockError::Unavailable`] where the backend is one service; [`LockError::Lapsed`] when they answered
    /// so late that no usable part of the lease was left; [`LockError::Closed`] after [`close`](Self::close).
    ///
    /// # Cancel safety
    /// Dropping the future releases, in a detached task, every key that it obtained on any node.
    /// On a node that cannot be reached the key remains until its lease ends, and on any node where the runtime ends
    /// before that task: see [`close`](Self::close).
    ///
    /// # Example
    /// ```
    /// # tokio::runtime::Runtime::new()?.block_on(async {
    /// # let servers = testbed::redis_nodes(3).await?;
    /// # let nodes = fenced_lock::Nodes::parse(&servers.iter().map(|node| node.url()).collect::<Vec<_>>().join(","))?;
    /// # let locks = fenced_lock::Locks::redlock(nodes, fenced_lock::Options::default());
    /// use std::time::Duration;
    /// use fenced_lock::{Lease, ReleaseOutcome, Resource, Wait};
    ///
    /// let (sku, lease) = (Resource::new("sku:42")?, Lease::new(Duration::from_secs(10))?);
    /// let grant = locks.try_lock(&sku, Wait::none(), lease).await?.expect("the lock is free");
    /// assert!(locks.try_lock(&sku, Wait::none(), lease).await?.is_none(), "contention is no error");
    /// assert_eq!(grant.release().await?, ReleaseOutcome::Released);
    /// # Ok::<_, Box<dyn std::error::Error>>(()) })?;
    /// # Ok::<_, Box<dyn std::error::Error>>(())
    /// ```
    pub async fn try_lock(&self, resource: &Resource, wait: Wait, lease: Lease) -> Result<Option<Grant>, LockError> {
        let inner = self.acquire(Arc::new([resource.clone()]), wait, lease).await?;
        Ok(inner.map(Grant::new))
    }

    /// Acquires the locks on all of `resources`: all of them or none.
    ///
    /// They are sorted and duplicates are removed first, so overlapping sets never deadlock. Each
    /// resource gets its own token.
    ///
    /// # Errors
    /// As [`try_lock`](Self::try_lock), and [`LockError::ResourceCount`] for an empty list or one
    /// longer than [`MAX_RESOURCES`](Self::MAX_RESOURCES).
    ///
    /// # Cancel safety
    /// As [`try_lock`](Self::try_lock).
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
    /// let both = [Resource::new("sku:7")?, Resource::new("sku:42")?];
    /// let lease = Lease::new(Duration::from_secs(10))?;
    /// let grants = locks.try_lock_all(&both, Wait::up_to(Duration::from_secs(2)), lease).await?.expect("both are free");
    /// for (resource, token) in grants.iter() {
    ///     println!("{resource}: {token:?}");
    /// }
    /// grants.release().await?;
    /// # Ok::<_, Box<dyn std::error::Error>>(()) })?;
    /// # Ok::<_, Box<dyn std::error::Error>>(())
    /// ```
    pub async fn try_lock_all(
        &self,
        resources: &[Resource],
        wait: Wait,
        lease: Lease,
    ) -> Result<Option<Grants>, LockError> {
        let mut sorted = resources.to_vec();
        sorted.sort();
        sorted.dedup();
        if !(1..=Self::MAX_RESOURCES).contains(&sorted.len()) {
            return Err(LockError::ResourceCount { requested: sorted.len(), limit: Self::MAX_RESOURCES });
        }
        let inner = self.acquire(sorted.into(), wait, lease).await?;
        Ok(inner.map(Grants::new))
    }

    /// Makes every later token of `resource` greater than `at_least`.
    ///
    /// For a storage that refused a token with "stale, the current token is `c`": a crash of nodes can lose
    /// their counters, and raising the floor to `c` restores them.
    ///
    /// # Errors
    /// [`LockError::QuorumUnavailable`] or [`LockError::Unavailable`]; [`LockError::NoTokens`] where
    /// the backend issues none; [`LockError::FloorOutOfReach`] where the backend counts by itself and has not
    /// reached `at_least`.
    ///
    /// # Cancel safety
    /// The floor may be raised on some nodes and not on others, which does no harm. Call again.
    ///
    /// # Example
    /// ```
    /// # tokio::runtime::Runtime::new()?.block_on(async {
    /// # let servers = testbed::redis_nodes(3).await?;
    /// # let nodes = fenced_lock::Nodes::parse(&servers.iter().map(|node| node.url()).collect::<Vec<_>>().join(","))?;
    /// # let locks = fenced_lock::Locks::redlock(nodes, fenced_lock::Options::default());
    /// use std::time::Duration;
    /// use fenced_lock::{Lease, Resource, Token, Wait};
    ///
    /// let (sku, lease) = (Resource::new("sku:42")?, Lease::new(Duration::from_secs(10))?);
    /// let current = Token::new(900)?; // the token that the storage reported when it refused a token
    /// locks.raise_floor(&sku, current).await?;
    /// let grant = locks.try_lock(&sku, Wait::none(), lease).await?.expect("the lock is free");
    /// assert!(grant.token() > Some(current));
    /// # Ok::<_, Box<dyn std::error::Error>>(()) })?;
    /// # Ok::<_, Box<dyn std::error::Error>>(())
    /// ```
    pub async fn raise_floor(&self, resource: &Resource, at_least: Token) -> Result<(), LockError> {
        self.backend.raise_floor(resource, at_least).await
    }

    /// The current holder of the lock on `resource`. Outdated before it is read: for display, not for
    /// decisions.
    ///
    /// # Errors
    /// [`LockError::QuorumUnavailable`] or [`LockError::Unavailable`] when the holder could not be read.
    pub async fn holder(&self, resource: &Resource) -> Result<Option<Holder>, LockError> {
        self.read_holder(resource).await.map(|(holder, _)| holder)
    }

    /// The current holder, and a notification of the next change.
    pub(crate) async fn read_holder(&self, resource: &Resource) -> Result<(Option<Holder>, Notification), LockError> {
        self.backend.read_holder(resource).await
    }

    /// Whether a lock can be granted: a quorum of the nodes accepts a write, or the service answers where the backend is
    /// one service. Nodes that are full or read-only do not count.
    ///
    /// # Errors
    /// [`LockError::QuorumUnavailable`] or [`LockError::Unavailable`] where no quorum, or not the service, answers.
    pub async fn ready(&self) -> Result<(), LockError> {
        self.backend.ready().await
    }

    /// Connects to the lock nodes, and checks that those that answer are independent servers. Takes at most two seconds;
    /// nodes that do not answer are checked once they do, and until then and afterwards the votes of an unsuitable node
    /// are not counted. For the start of a service. Other backends have nothing to check.
    ///
    /// # Errors
    /// The first [`UnsuitableNode`].
    ///
    /// # Cancel safety
    /// The check changes nothing on the nodes.
    pub async fn check_nodes(&self) -> Result<(), UnsuitableNode> {
        self.backend.check_nodes().await
    }

    /// Acquires nothing from now on, and waits for the clean-up in the background, for at most `within`: releases that not
    /// every node has answered, dropped grants, and acquisitions that failed or were dropped.
    ///
    /// For the end of a program: the clean-up ends with its runtime. Holds for all clones. Acquisitions that still wait end
    /// with [`LockError::Closed`]. Grants that are still held can be extended and released; drop or release them first, or
    /// call this again.
    ///
    /// # Errors
    /// [`CleanupIncomplete`] where some clean-up did not end in time, or ended without having reached every node.
    ///
    /// # Cancel safety
    /// The locks stay closed, and the clean-up continues. Call again.
    ///
    /// # Example
    /// ```
    /// # tokio::runtime::Runtime::new()?.block_on(async {
    /// # let servers = testbed::redis_nodes(3).await?;
    /// # let nodes = fenced_lock::Nodes::parse(&servers.iter().map(|node| node.url()).collect::<Vec<_>>().join(","))?;
    /// # let locks = fenced_lock::Locks::redlock(nodes, fenced_lock::Options::default());
    /// use std::time::Duration;
    /// use fenced_lock::{Lease, LockError, Resource, Wait};
    ///
    /// let (sku, lease) = (Resource::new("sku:42")?, Lease::new(Duration::from_secs(10))?);
    /// drop(locks.try_lock(&sku, Wait::none(), lease).await?);
    /// locks.close(Duration::from_secs(2)).await?; // nothing remains on the nodes
    /// assert!(matches!(locks.try_lock(&sku, Wait::none(), lease).await, Err(LockError::Closed)));
    /// # Ok::<_, Box<dyn std::error::Error>>(()) })?;
    /// # Ok::<_, Box<dyn std::error::Error>>(())
    /// ```
    pub async fn close(&self, within: Duration) -> Result<(), CleanupIncomplete> {
        self.closed.send_replace(true);
        self.cleanups.ended(within).await
    }

    async fn acquire(
        &self,
        resources: Arc<[Resource]>,
        wait: Wait,
        lease: Lease,
    ) -> Result<Option<GrantInner>, LockError> {
        // Counted before the check: either close() waits for this call, or this call sees that it was made.
        let _running = self.cleanups.start_call();
        let mut closed = self.closed.subscribe();
        let started = Instant::now();
        let waits = wait > Wait::none();
        let mut request = Request { resources, lease, deadline: started + wait.get(), waits, queued: false };
        let span = tracing::debug_span!(
            "try_lock", backend = self.backend(), resource = %request.resources[0], waits = request.waits
        );
        let outcome = tokio::select! {
            biased;
            _ = closed.wait_for(|closed| *closed) => Err(LockError::Closed),
            outcome = self.queue_and_acquire(&mut request).instrument(span) => outcome,
        };
        metrics::record_acquisition(self.backend(), started.elapsed(), &outcome);
        Ok(outcome?
            .map(|acquired| GrantInner::new(self.backend(), request.resources, lease, acquired, self.cleanups.clone())))
    }

    async fn queue_and_acquire(&self, request: &mut Request) -> Result<Option<Acquired>, LockError> {
        // Tickets are taken in sorted order and kept until the backend has answered: two callers with
        // overlapping sets meet at their first common resource and cannot wait for each other.
        let mut tickets: Vec<Ticket> = Vec::with_capacity(request.resources.len());
        if self.backend.needs_local_queue() {
            for resource in request.resources.iter() {
                let mut ticket = self.queues.join(resource, self.max_waiters)?;
                if !ticket.wait_for_turn(request.deadline).await {
                    return Ok(None);
                }
                tickets.push(ticket);
            }
        }
        request.queued = tickets.iter().any(Ticket::was_queued);
        tracing::trace!(queued = request.queued, "first in the local queue");
        self.backend.acquire(request).await
    }
}
