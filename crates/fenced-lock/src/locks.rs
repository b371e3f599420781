//! The front door: one type for every backend, one match per operation.
//! What is the same for all of them lives here (order, duplicates, the queue inside the
//! process); how a lock is taken does not.

use std::sync::Arc;

use tokio::time::Instant;
use tracing::Instrument as _;

use crate::backend::off;
use crate::grant::{Acquired, Grant, GrantInner, Grants};
use crate::holder::{Holder, Notification};
use crate::queue::Queues;
#[cfg(feature = "redis")]
use crate::queue::Ticket;
#[cfg(feature = "postgres")]
use crate::{AdvisoryDatabase, backend::postgres::PostgresAdvisory};
#[cfg(feature = "etcd")]
use crate::{EtcdEndpoints, backend::etcd::Etcd};
use crate::{Lease, LockError, Options, Resource, Token, Wait, metrics};
#[cfg(feature = "redis")]
use crate::{NodeUrl, Nodes, backend::redis::RedisSingle, backend::redlock::Redlock};
#[cfg(feature = "zookeeper")]
use crate::{ZookeeperEnsemble, backend::zookeeper::Zookeeper};

/// Distributed locks of one kind. Cheap to clone; clones share connections and queues.
#[derive(Clone, Debug)]
pub struct Locks {
    backend: Backend,
    queues: Queues,
    max_waiters: usize,
}

#[derive(Clone, Debug)]
enum Backend {
    Off,
    #[cfg(feature = "redis")]
    Redis(RedisSingle),
    #[cfg(feature = "redis")]
    Redlock(Arc<Redlock>),
    #[cfg(feature = "etcd")]
    Etcd(Arc<Etcd>),
    #[cfg(feature = "zookeeper")]
    Zookeeper(Arc<Zookeeper>),
    #[cfg(feature = "postgres")]
    PostgresAdvisory(Arc<PostgresAdvisory>),
}

/// What a backend is asked for.
///
/// A backend's `acquire` may be dropped at any await and then cleans up by itself, detached.
#[derive(Clone, Debug)]
pub(crate) struct Request {
    /// Sorted, without duplicates, at least one.
    pub(crate) resources: Arc<[Resource]>,
    pub(crate) lease: Lease,
    /// When contention is no longer waited out.
    pub(crate) deadline: Instant,
    /// Whether the caller waits at all.
    #[cfg_attr(
        not(any(feature = "redis", feature = "etcd", feature = "zookeeper", feature = "postgres")),
        expect(dead_code, reason = "there is nobody to wait for")
    )]
    pub(crate) waits: bool,
}

impl Locks {
    /// The most resources that one grant can cover.
    pub const MAX_RESOURCES: usize = 128;

    /// No lock: grants at once, without a token.
    pub fn off() -> Self {
        Self::with(Backend::Off, &Options::default())
    }

    /// One Redis node, without tokens, in the manner of Redisson's `RLock`.
    ///
    /// Connects when it is first used; never fails because the node is down.
    #[cfg(feature = "redis")]
    pub fn redis(node: NodeUrl, options: Options) -> Self {
        Self::with(Backend::Redis(RedisSingle::new(node, &options)), &options)
    }

    /// Redlock over independent nodes, with fencing tokens sealed by a quorum.
    ///
    /// Connects when it is first used; never fails because a node is down.
    #[cfg(feature = "redis")]
    pub fn redlock(nodes: Nodes, options: Options) -> Self {
        Self::with(Backend::Redlock(Redlock::new(nodes, &options)), &options)
    }

    /// An etcd cluster; the token is the revision that created the lock's key.
    ///
    /// etcd counts leases in whole seconds and not below its election time-out:
    /// [`Grant::kept_for`] tells what came of it. Every grant is a write that a majority of the
    /// cluster has flushed to disk, so allow it a longer [`NodeTimeout`](crate::NodeTimeout) than a
    /// Redis node. In its queue waiters of all resources of a set stand ahead of whoever comes later.
    ///
    /// Connects when it is first used; never fails because etcd is down.
    #[cfg(feature = "etcd")]
    pub fn etcd(endpoints: EtcdEndpoints, options: Options) -> Self {
        Self::with(Backend::Etcd(Etcd::new(endpoints, &options)), &options)
    }

    /// A ZooKeeper ensemble, 3.5.3 or later; the token is the zxid that created the lock's node.
    ///
    /// A client that falls silent keeps its locks until its session ends, which may be later than
    /// the lease ([`ZookeeperEnsemble::with_session`], [`Grant::kept_for`]); `valid_until` is the
    /// earlier of both. Every grant is a write that a majority has flushed to disk, so allow it a
    /// longer [`NodeTimeout`](crate::NodeTimeout) than a Redis node.
    ///
    /// Connects when it is first used; never fails because ZooKeeper is down.
    #[cfg(feature = "zookeeper")]
    pub fn zookeeper(ensemble: ZookeeperEnsemble, options: Options) -> Self {
        Self::with(Backend::Zookeeper(Zookeeper::new(ensemble, &options)), &options)
    }

    /// Session advisory locks of one Postgres database, 14 or later, **without tokens**.
    ///
    /// Each lock has a session of its own and lives no longer than that: `valid_until` is the lease
    /// by our clock, the server ends a session that was silent for as long, and whatever else ends
    /// the session — a restart, `pg_terminate_backend` — ends the lock early and is noticed only by
    /// the next extend or release. Needs connections of its own: no transaction pooler in between.
    ///
    /// Connects when it is first used; never fails because Postgres is down.
    #[cfg(feature = "postgres")]
    pub fn postgres_advisory(database: AdvisoryDatabase, options: Options) -> Self {
        Self::with(Backend::PostgresAdvisory(PostgresAdvisory::new(database, &options)), &options)
    }

    fn with(backend: Backend, options: &Options) -> Self {
        Self { backend, queues: Queues::default(), max_waiters: options.max_waiters().get() }
    }

    /// The name of the backend, as used in metrics.
    pub fn backend(&self) -> &'static str {
        match &self.backend {
            Backend::Off => "off",
            #[cfg(feature = "redis")]
            Backend::Redis(_) => "redis",
            #[cfg(feature = "redis")]
            Backend::Redlock(_) => "redlock",
            #[cfg(feature = "etcd")]
            Backend::Etcd(_) => "etcd",
            #[cfg(feature = "zookeeper")]
            Backend::Zookeeper(_) => "zookeeper",
            #[cfg(feature = "postgres")]
            Backend::PostgresAdvisory(_) => "postgres-advisory",
        }
    }

    /// Asks for the lock on `resource`, waiting for up to `wait` while somebody else has it.
    ///
    /// `None` means that somebody else still had it when the wait was over.
    ///
    /// # Errors
    /// [`LockError::QuorumUnavailable`] when too few nodes answered within the node timeout, where
    /// the backend is one service [`LockError::Unavailable`]; [`LockError::Lapsed`] when they answered
    /// so late that nothing of the lease was left.
    ///
    /// # Cancel safety
    /// Dropping the future gives back, in a detached task, whatever it had obtained on any node.
    /// On a node that cannot be reached the key remains until its lease ends.
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
    /// let grant = locks.try_lock(&sku, Wait::none(), lease).await?.expect("nobody else is here");
    /// assert!(locks.try_lock(&sku, Wait::none(), lease).await?.is_none(), "contention is no error");
    /// assert_eq!(grant.release().await?, ReleaseOutcome::Released);
    /// # Ok::<_, Box<dyn std::error::Error>>(()) })?;
    /// # Ok::<_, Box<dyn std::error::Error>>(())
    /// ```
    pub async fn try_lock(&self, resource: &Resource, wait: Wait, lease: Lease) -> Result<Option<Grant>, LockError> {
        let inner = self.acquire(Arc::new([resource.clone()]), wait, lease).await?;
        Ok(inner.map(Grant::new))
    }

    /// Asks for the locks on all of `resources` at once: all of them or none.
    ///
    /// They are sorted and freed of duplicates first, so overlapping sets never deadlock. Each
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
            return Err(LockError::ResourceCount { asked: sorted.len(), limit: Self::MAX_RESOURCES });
        }
        let inner = self.acquire(sorted.into(), wait, lease).await?;
        Ok(inner.map(Grants::new))
    }

    /// Makes every later token of `resource` greater than `at_least`.
    ///
    /// For the moment when storage says "stale, the current token is `c`": counters may be lost
    /// in a crash of a node, and this heals them.
    ///
    /// # Errors
    /// [`LockError::QuorumUnavailable`] or [`LockError::Unavailable`]; [`LockError::NoTokens`] where
    /// the backend has none; [`LockError::FloorOutOfReach`] where it counts by itself and is not past
    /// `at_least` already.
    ///
    /// # Cancel safety
    /// The floor may be raised on some nodes and not on others; that does no harm. Call again.
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
    /// let current = Token::new(900)?; // what the storage said when it refused ours
    /// locks.raise_floor(&sku, current).await?;
    /// let grant = locks.try_lock(&sku, Wait::none(), lease).await?.expect("nobody else is here");
    /// assert!(grant.token() > Some(current));
    /// # Ok::<_, Box<dyn std::error::Error>>(()) })?;
    /// # Ok::<_, Box<dyn std::error::Error>>(())
    /// ```
    #[cfg_attr(
        not(any(feature = "redis", feature = "etcd", feature = "zookeeper")),
        expect(unused_variables, reason = "nobody else has tokens")
    )]
    pub async fn raise_floor(&self, resource: &Resource, at_least: Token) -> Result<(), LockError> {
        match &self.backend {
            Backend::Off => Err(LockError::NoTokens { backend: self.backend() }),
            #[cfg(feature = "redis")]
            Backend::Redis(_) => Err(LockError::NoTokens { backend: self.backend() }),
            #[cfg(feature = "redis")]
            Backend::Redlock(redlock) => redlock.raise_floor(resource, at_least).await,
            #[cfg(feature = "etcd")]
            Backend::Etcd(etcd) => etcd.raise_floor(resource, at_least).await,
            #[cfg(feature = "zookeeper")]
            Backend::Zookeeper(zookeeper) => zookeeper.raise_floor(resource, at_least).await,
            #[cfg(feature = "postgres")]
            Backend::PostgresAdvisory(_) => Err(LockError::NoTokens { backend: self.backend() }),
        }
    }

    /// Who has the lock on `resource`, as seen now. Old before it is read: for showing, not for
    /// deciding.
    ///
    /// # Errors
    /// [`LockError::QuorumUnavailable`] or [`LockError::Unavailable`] when that could not be found out.
    pub async fn holder(&self, resource: &Resource) -> Result<Option<Holder>, LockError> {
        self.read_holder(resource).await.map(|(holder, _)| holder)
    }

    /// Who has it, and how to hear of a change.
    #[cfg_attr(
        not(any(feature = "redis", feature = "etcd", feature = "zookeeper", feature = "postgres")),
        expect(unused_variables, reason = "nobody has it")
    )]
    pub(crate) async fn read_holder(&self, resource: &Resource) -> Result<(Option<Holder>, Notification), LockError> {
        match &self.backend {
            Backend::Off => Ok((None, Notification::Unknown)),
            #[cfg(feature = "redis")]
            Backend::Redis(node) => Ok((node.holder(resource).await?, Notification::Unknown)),
            #[cfg(feature = "redis")]
            Backend::Redlock(redlock) => Ok((redlock.holder(resource).await?, Notification::Unknown)),
            #[cfg(feature = "etcd")]
            Backend::Etcd(etcd) => etcd.read_holder(resource).await,
            #[cfg(feature = "zookeeper")]
            Backend::Zookeeper(zookeeper) => zookeeper.read_holder(resource).await,
            #[cfg(feature = "postgres")]
            Backend::PostgresAdvisory(postgres) => Ok((postgres.holder(resource).await?, Notification::Unknown)),
        }
    }

    /// Whether a quorum of the nodes answers, or the one service that the backend is.
    ///
    /// # Errors
    /// [`LockError::QuorumUnavailable`] or [`LockError::Unavailable`] when it does not.
    pub async fn ready(&self) -> Result<(), LockError> {
        match &self.backend {
            Backend::Off => Ok(()),
            #[cfg(feature = "redis")]
            Backend::Redis(node) => node.ready().await,
            #[cfg(feature = "redis")]
            Backend::Redlock(redlock) => redlock.ready().await,
            #[cfg(feature = "etcd")]
            Backend::Etcd(etcd) => etcd.ready().await,
            #[cfg(feature = "zookeeper")]
            Backend::Zookeeper(zookeeper) => zookeeper.ready().await,
            #[cfg(feature = "postgres")]
            Backend::PostgresAdvisory(postgres) => postgres.ready().await,
        }
    }

    async fn acquire(
        &self,
        resources: Arc<[Resource]>,
        wait: Wait,
        lease: Lease,
    ) -> Result<Option<GrantInner>, LockError> {
        let began = Instant::now();
        let waits = wait > Wait::none();
        let request = Request { resources, lease, deadline: began + wait.get(), waits };
        let span = tracing::debug_span!("try_lock", backend = self.backend(), resource = %request.resources[0]);
        let outcome = self.queue_and_acquire(&request).instrument(span).await;
        metrics::acquired(self.backend(), began.elapsed(), &outcome);
        Ok(outcome?.map(|acquired| GrantInner::new(self.backend(), request.resources, lease, acquired)))
    }

    async fn queue_and_acquire(&self, request: &Request) -> Result<Option<Acquired>, LockError> {
        // Places are taken in sorted order and kept until the nodes have spoken: two callers
        // with overlapping sets meet at their first common resource and cannot wait in a circle.
        let mut tickets = Vec::with_capacity(request.resources.len());
        if !matches!(self.backend, Backend::Off) {
            for resource in request.resources.iter() {
                let mut ticket = self.queues.join(resource, self.max_waiters)?;
                if !ticket.wait_for_turn(request.deadline).await {
                    return Ok(None);
                }
                tickets.push(ticket);
            }
        }
        // Boxed, so that the others do not make the future of a Redlock acquisition any larger.
        match &self.backend {
            Backend::Off => Ok(Some(off::acquire(request))),
            #[cfg(feature = "redis")]
            Backend::Redis(node) => node.acquire(request, tickets.iter().any(Ticket::queued)).await,
            #[cfg(feature = "redis")]
            Backend::Redlock(redlock) => redlock.acquire(request, tickets.iter().any(Ticket::queued)).await,
            #[cfg(feature = "etcd")]
            Backend::Etcd(etcd) => Box::pin(etcd.acquire(request)).await,
            #[cfg(feature = "zookeeper")]
            Backend::Zookeeper(zookeeper) => Box::pin(zookeeper.acquire(request)).await,
            #[cfg(feature = "postgres")]
            Backend::PostgresAdvisory(postgres) => Box::pin(postgres.acquire(request)).await,
        }
    }
}
