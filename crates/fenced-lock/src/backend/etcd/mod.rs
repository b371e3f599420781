//! etcd: whoever entered a resource's queue first has the lock, for as long as its lease lives.
//!
//! An acquisition puts one key of its own for each resource, all in one transaction and under one
//! lease. The revision of that transaction is its ticket in every queue and its fencing token, so
//! sets cannot wait in a circle, and tokens grow in the order in which locks are granted. A waiter
//! watches the key right before its own and nothing else.
//!
//! Nothing here deletes a key that is not its own: keys are named after the acquisition.
//!
//! Source: etcd, `client/v3/concurrency`; its issues 11456 (recheck the lease) and 22082 (a retried
//! unlock deleted a newer lock).

mod calls;
mod endpoints;
mod queue_entry;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use etcd_client::{GetOptions, SortOrder, SortTarget, WatchOptions};
use tokio::time::Instant;

use self::calls::Calls;
pub use self::endpoints::EtcdEndpoints;
use self::queue_entry::Key;
pub(crate) use self::queue_entry::QueueEntry;
use crate::grant::{self, Acquired};
use crate::holder::{Holder, Notification};
use crate::locks::Request;
use crate::{Lease, LockError, Options, Resource, Token};

/// The lease under which a waiter stands in the queue, kept alive while it waits: a waiter that
/// dies does not hold up the others for longer.
const WAITING: Duration = Duration::from_secs(10);

/// One cluster and everything that callers share.
#[derive(Debug)]
pub(crate) struct Etcd {
    calls: Calls,
    /// Unique to this client; owners are numbered after it.
    client_id: String,
    next_number: AtomicU64,
}

impl Etcd {
    pub(crate) fn new(endpoints: EtcdEndpoints, options: &Options) -> Arc<Self> {
        Arc::new(Self {
            calls: Calls::new(endpoints, options.node_timeout()),
            client_id: format!("{}.{}", options.client_name(), uuid::Uuid::now_v7().simple()),
            next_number: AtomicU64::new(1),
        })
    }

    /// Tries until granted, or until the deadline while somebody else has it.
    pub(crate) async fn acquire(self: &Arc<Self>, request: &Request) -> Result<Option<Acquired>, LockError> {
        if !request.waits && self.is_taken(request).await? {
            return Ok(None);
        }
        let started = Instant::now();
        let waiting = Lease::new(WAITING).unwrap_or(request.lease).min(request.lease);
        let mut entry = QueueEntry::new(self, request);
        entry.grant_lease(if request.waits { waiting } else { request.lease }).await?;
        let Some(ahead) = entry.enqueue(request.waits).await? else {
            entry.dequeue().await;
            return Ok(None);
        };
        let waits = ahead.iter().any(Option::is_some);
        if !entry.wait_until_first(ahead, request.deadline).await? {
            entry.dequeue().await;
            return Ok(None);
        }
        // The lease is that of a waiter, or some of it has been waited away: a new one is counted
        // from now, and telling so shows that the keys are still there.
        let valid_until = if waits || (request.waits && waiting != request.lease) {
            entry.extend(request.lease).await.map_err(|error| self.queue_position_lost(error))?
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
            held: grant::HeldLock::Etcd(entry),
        }))
    }

    /// Who has it, and a watch on everything that may change that.
    pub(crate) async fn read_holder(&self, resource: &Resource) -> Result<(Option<Holder>, Notification), LockError> {
        let folder = Key::folder(resource);
        let options = GetOptions::new().with_prefix().with_sort(SortTarget::Create, SortOrder::Ascend).with_limit(1);
        let key = folder.clone();
        let found = self.calls.call(|mut etcd| async move { etcd.get(key, Some(options)).await }).await?;
        let seen = found.header().ok_or_else(|| self.calls.service.unexpected("an answer without a revision"))?;
        let options = WatchOptions::new().with_prefix().with_start_revision(seen.revision() + 1);
        let watch = self.calls.call(|mut etcd| async move { etcd.watch(folder, Some(options)).await }).await?;
        let holder = found.kvs().first().map(|first| {
            let name = String::from_utf8_lossy(first.value()).into_owned();
            Ok(Holder::new(name, Some(token(first.create_revision(), resource)?)))
        });
        Ok((holder.transpose()?, Notification::Etcd(watch)))
    }

    /// Revisions are etcd's own and only grow: either they are past the floor, or cannot be brought there.
    pub(crate) async fn raise_floor(&self, resource: &Resource, at_least: Token) -> Result<(), LockError> {
        if u64::try_from(self.revision().await?).is_ok_and(|revision| revision >= at_least.get()) {
            return Ok(());
        }
        Err(LockError::FloorOutOfReach { backend: "etcd", resource: resource.clone(), at_least })
    }

    pub(crate) async fn ready(&self) -> Result<(), LockError> {
        self.revision().await.map(|_| ())
    }

    /// The latest revision, as a majority of the cluster knows it.
    async fn revision(&self) -> Result<i64, LockError> {
        let options = GetOptions::new().with_count_only();
        let answer = self.calls.call(|mut etcd| async move { etcd.get("fenced-lock/", Some(options)).await }).await?;
        let header = answer.header().ok_or_else(|| self.calls.service.unexpected("an answer without a revision"))?;
        Ok(header.revision())
    }

    /// Asking costs etcd less than entering in vain: no write.
    async fn is_taken(&self, request: &Request) -> Result<bool, LockError> {
        for resource in request.resources.iter() {
            let (folder, options) = (Key::folder(resource), GetOptions::new().with_prefix().with_count_only());
            let found = self.calls.call(|mut etcd| async move { etcd.get(folder, Some(options)).await }).await?;
            if found.count() > 0 {
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn queue_position_lost(&self, error: LockError) -> LockError {
        match error {
            LockError::Lost { .. } => self.calls.service.unexpected("the ticket in the queue was lost while waiting"),
            error => error,
        }
    }

    fn next_owner(&self) -> Arc<str> {
        format!("{}.{}", self.client_id, self.next_number.fetch_add(1, Ordering::Relaxed)).into()
    }
}

fn token(revision: i64, resource: &Resource) -> Result<Token, LockError> {
    let revision = u64::try_from(revision).unwrap_or_default();
    Token::new(revision).map_err(|_| LockError::TokensExhausted { resource: resource.clone() })
}
