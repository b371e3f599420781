//! etcd: the oldest key in a resource's queue holds the lock, for as long as its lease lives.
//!
//! An acquisition puts one key of its own for each resource, all in one transaction and under one lease. The
//! revision of that transaction is its position in every queue and its fencing token, so sets cannot wait for
//! each other in a circle, and tokens grow in the order in which locks are granted. A waiter watches the key
//! right before its own and nothing else.
//!
//! Nothing here deletes a key of another acquisition: keys are named after the acquisition.
//!
//! Source: etcd, `client/v3/concurrency`; its issues 11456 (recheck the lease) and 22082 (a retried
//! unlock deleted a newer lock).

mod client;
mod endpoints;
mod queue_entry;

use std::sync::Arc;
use std::time::Duration;

use etcd_client::{GetOptions, SortOrder, SortTarget, WatchOptions, WatchStream};
use futures_util::FutureExt as _;
use tokio::time::Instant;

use self::client::EtcdClient;
pub use self::endpoints::EtcdEndpoints;
use self::queue_entry::{Key, QueueEntry};
use crate::cleanups::Cleanups;
use crate::lock_backend::{Acquired, LockBackend, LockFuture, Notification, poll_later};
use crate::request::Request;
use crate::{Holder, Lease, LockError, Locks, Options, Resource, Token};

/// The lease of a waiter's queue entry, kept alive while it waits: a crashed waiter does not block the queue
/// for longer.
const WAITER_LEASE: Duration = Duration::from_secs(10);
/// The lease that shows that locks can be granted, in seconds. It is revoked at once.
const PROBE_LEASE: i64 = 1;

impl Locks {
    /// An etcd cluster; the token is the revision that created the lock's key.
    ///
    /// etcd counts leases in whole seconds and not below its election timeout:
    /// [`Grant::kept_for`](crate::Grant::kept_for) returns the actual lease. Every grant is a write that a
    /// majority of the cluster has flushed to disk, so allow it a longer [`NodeTimeout`](crate::NodeTimeout) than
    /// a Redis node. A set that waits is ahead of later callers in the queues of all its resources.
    ///
    /// Connects at its first use; never fails because etcd is down.
    pub fn etcd(endpoints: EtcdEndpoints, options: Options) -> Self {
        Self::new(Arc::new(Etcd(EtcdClient::new(endpoints, &options))), &options)
    }
}

/// One client of an etcd cluster.
#[derive(Debug)]
struct Etcd(Arc<EtcdClient>);

impl Etcd {
    async fn acquire_by_deadline(&self, request: &Request) -> Result<Option<Acquired>, LockError> {
        if !request.waits && self.is_taken(request).await? {
            return Ok(None);
        }
        let started = Instant::now();
        let waiter_lease = Lease::new(WAITER_LEASE).unwrap_or(request.lease).min(request.lease);
        let mut entry = QueueEntry::new(&self.0, request);
        entry.grant_lease(if request.waits { waiter_lease } else { request.lease }).await?;
        let Some(predecessors) = entry.enqueue(request.waits).await? else {
            entry.dequeue().await;
            return Ok(None);
        };
        let waited = predecessors.iter().any(Option::is_some);
        if !entry.wait_until_first(predecessors, request.deadline).await? {
            entry.dequeue().await;
            return Ok(None);
        }
        // The lease is that of a waiter, or the wait has used up some of it. The extension counts from now, and
        // its success shows that the keys are still there.
        let valid_until = if waited || (request.waits && waiter_lease != request.lease) {
            entry.extend_lease(request.lease).await.map_err(|error| self.0.queue_position_lost(error))?
        } else {
            started + request.lease.usable()
        };
        if Instant::now() >= valid_until {
            return Err(LockError::Lapsed { lease: request.lease.get(), elapsed: started.elapsed() });
        }
        let token = token(entry.revision(), &request.resources[0])?;
        Ok(Some(Acquired {
            owner: entry.owner(),
            tokens: vec![Some(token); request.resources.len()],
            valid_until,
            held: Box::new(entry),
        }))
    }

    /// Whether a queue has an entry. This read costs less than an entry that is not granted, which is a write.
    async fn is_taken(&self, request: &Request) -> Result<bool, LockError> {
        for resource in request.resources.iter() {
            let (folder, options) = (Key::folder(resource), GetOptions::new().with_prefix().with_count_only());
            let found = self.0.call(|mut etcd| async move { etcd.get(folder, Some(options)).await }).await?;
            if found.count() > 0 {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// The holder, and a watch on every later change of the queue.
    async fn read_and_watch(&self, resource: &Resource) -> Result<(Option<Holder>, Notification), LockError> {
        let folder = Key::folder(resource);
        let options = GetOptions::new().with_prefix().with_sort(SortTarget::Create, SortOrder::Ascend).with_limit(1);
        let key = folder.clone();
        let found = self.0.call(|mut etcd| async move { etcd.get(key, Some(options)).await }).await?;
        let header = found.header().ok_or_else(|| self.0.service.unexpected("an answer without a revision"))?;
        let options = WatchOptions::new().with_prefix().with_start_revision(header.revision() + 1);
        let watch = self.0.call(|mut etcd| async move { etcd.watch(folder, Some(options)).await }).await?;
        let holder = found.kvs().first().map(|first| {
            let name = String::from_utf8_lossy(first.value()).into_owned();
            Ok(Holder { name, token: Some(token(first.create_revision(), resource)?) })
        });
        Ok((holder.transpose()?, until_changed(watch).boxed()))
    }
}

impl LockBackend for Etcd {
    fn name(&self) -> &'static str {
        "etcd"
    }

    fn acquire<'a>(&'a self, request: &'a Request) -> LockFuture<'a, Option<Acquired>> {
        self.acquire_by_deadline(request).boxed()
    }

    /// Revisions only grow, and only by themselves: either they have reached the floor, or they cannot be raised.
    fn raise_floor<'a>(&'a self, resource: &'a Resource, at_least: Token) -> LockFuture<'a, ()> {
        async move {
            if u64::try_from(self.0.revision().await?).is_ok_and(|revision| revision >= at_least.get()) {
                return Ok(());
            }
            Err(LockError::FloorOutOfReach { backend: self.name(), resource: resource.clone(), at_least })
        }
        .boxed()
    }

    fn read_holder<'a>(&'a self, resource: &'a Resource) -> LockFuture<'a, (Option<Holder>, Notification)> {
        self.read_and_watch(resource).boxed()
    }

    /// A lease can be granted: etcd out of space still answers reads.
    fn ready(&self) -> LockFuture<'_, ()> {
        async move {
            let lease = self.0.call(|mut etcd| async move { etcd.lease_grant(PROBE_LEASE, None).await }).await?.id();
            self.0.call_if_found(|mut etcd| async move { etcd.lease_revoke(lease).await }).await.map(|_| ())
        }
        .boxed()
    }

    fn cleanups(&self) -> Cleanups {
        self.0.cleanups.clone()
    }
}

async fn until_changed(mut watch: WatchStream) {
    while let Ok(Some(message)) = watch.message().await {
        if !message.events().is_empty() || message.canceled() {
            return;
        }
    }
    // The watch has ended. The next read reports why, if the service has failed.
    poll_later().await;
}

fn token(revision: i64, resource: &Resource) -> Result<Token, LockError> {
    let revision = u64::try_from(revision).unwrap_or_default();
    Token::new(revision).map_err(|_| LockError::TokensExhausted { resource: resource.clone() })
}
