//! One acquisition's keys in the queues of its resources, and the leases that they live under: while it waits,
//! while it holds the lock, until it is removed. An entry that is dropped before that removes, in a detached task,
//! every key that it may have put.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use etcd_client::{
    Client, Compare, CompareOp, EventType, GetOptions, LeaseGrantOptions, PutOptions, SortOrder, SortTarget, Txn,
    TxnOp, TxnOpResponse,
};
use futures_util::FutureExt as _;
use tokio::runtime::Handle;
use tokio::time::Instant;

use super::client::EtcdClient;
use crate::backend::path_segment::segment;
use crate::lock_backend::{HeldLock, LockFuture};
use crate::request::Request;
use crate::{Lease, LockError, ReleaseOutcome, Resource};

/// A key of this acquisition: `fenced-lock/{resource}/{owner}`.
#[derive(Clone, Debug)]
pub(super) struct Key {
    folder: String,
    own: String,
}

impl Key {
    pub(super) fn folder(resource: &Resource) -> String {
        format!("fenced-lock/{}/", segment(resource))
    }
}

/// A lease of etcd. Its id is chosen here, so that it can be revoked even if the answer to its grant was lost.
#[derive(Clone, Copy, Debug)]
struct LeaseRef {
    id: i64,
    requested_seconds: i64,
    /// The actual lease, at least what was requested. Zero until etcd has answered.
    granted: Duration,
}

/// The key right ahead in one queue; `None` for the first entry.
pub(super) type Predecessor = Option<Vec<u8>>;

#[derive(Debug)]
pub(super) struct QueueEntry {
    client: Arc<EtcdClient>,
    resource: Resource,
    keys: Vec<Key>,
    owner: Arc<str>,
    /// The revision that created all keys; 0 until then.
    revision: i64,
    /// First the lease of the keys. After it, leases that an extension in progress may have moved the keys to.
    leases: Mutex<Vec<LeaseRef>>,
    runtime: Handle,
}

impl QueueEntry {
    pub(super) fn new(client: &Arc<EtcdClient>, request: &Request) -> Self {
        let owner = client.owners.next();
        let key = |resource| {
            let folder = Key::folder(resource);
            Key { own: format!("{folder}{owner}"), folder }
        };
        Self {
            keys: request.resources.iter().map(key).collect(),
            resource: request.resources[0].clone(),
            client: Arc::clone(client),
            owner,
            revision: 0,
            leases: Mutex::new(Vec::new()),
            runtime: Handle::current(),
        }
    }

    pub(super) fn owner(&self) -> Arc<str> {
        Arc::clone(&self.owner)
    }

    pub(super) fn revision(&self) -> i64 {
        self.revision
    }

    /// The lease of the keys: etcd counts in whole seconds, and not below its election timeout.
    fn granted_lease(&self) -> Duration {
        self.leases().first().map_or(Duration::ZERO, |lease| lease.granted)
    }

    /// Creates a lease; from here on the entry has a lease to revoke.
    pub(super) async fn grant_lease(&self, lease: Lease) -> Result<i64, LockError> {
        let (id, requested_seconds) = (new_lease_id(), seconds(lease));
        self.leases().push(LeaseRef { id, requested_seconds, granted: Duration::ZERO });
        let options = LeaseGrantOptions::new().with_id(id);
        let grant =
            self.client.call(|mut etcd| async move { etcd.lease_grant(requested_seconds, Some(options)).await });
        let granted = Duration::from_secs(u64::try_from(grant.await?.ttl()).unwrap_or_default());
        if granted < lease.get() {
            return Err(self.client.service.unexpected("a lease shorter than requested"));
        }
        if let Some(lease) = self.leases().iter_mut().find(|lease| lease.id == id) {
            lease.granted = granted;
        }
        if granted != lease.get() {
            tracing::debug!(requested = ?lease.get(), ?granted, "etcd granted a longer lease than requested");
        }
        Ok(id)
    }

    /// Joins the end of all queues at once; with `behind_others` false only where all of them are empty, else
    /// `None`. Returns the predecessor in each queue.
    pub(super) async fn enqueue(&mut self, behind_others: bool) -> Result<Option<Vec<Predecessor>>, LockError> {
        let lease = self.leases().first().map_or(0, |lease| lease.id);
        let empty = |key: &Key| Compare::create_revision(key.folder.as_str(), CompareOp::Equal, 0).with_prefix();
        let conditions: Vec<_> = if behind_others { Vec::new() } else { self.keys.iter().map(empty).collect() };
        let last_two = || {
            GetOptions::new()
                .with_prefix()
                .with_keys_only()
                .with_limit(2)
                .with_sort(SortTarget::Create, SortOrder::Descend)
        };
        let puts = self.keys.iter().map(|key| self.put(key, lease));
        let reads = self.keys.iter().map(|key| TxnOp::get(key.folder.as_str(), Some(last_two())));
        let txn = Txn::new().when(conditions).and_then(puts.chain(reads).collect::<Vec<_>>());
        let answer = self.client.call(|mut etcd| async move { etcd.txn(txn).await }).await?;
        if !answer.succeeded() {
            return Ok(None);
        }
        let header = answer.header().ok_or_else(|| self.client.service.unexpected("an answer without a revision"))?;
        self.revision = header.revision();
        let predecessors = answer.op_responses().into_iter().filter_map(|response| match response {
            TxnOpResponse::Get(found) => Some(found.kvs().get(1).map(|key| key.key().to_vec())),
            TxnOpResponse::Put(_) | TxnOpResponse::Delete(_) | TxnOpResponse::Txn(_) => None,
        });
        Ok(Some(predecessors.collect()))
    }

    /// Waits until this entry is the first in every queue; `false` when the deadline comes first.
    pub(super) async fn wait_until_first(
        &self,
        predecessors: Vec<Predecessor>,
        deadline: Instant,
    ) -> Result<bool, LockError> {
        for (key, predecessor) in self.keys.iter().zip(predecessors) {
            let mut next = predecessor;
            while let Some(predecessor) = next {
                if !self.wait_until_deleted(predecessor, deadline).await? {
                    return Ok(false);
                }
                next = self.predecessor(key).await?;
            }
        }
        Ok(true)
    }

    async fn predecessor(&self, key: &Key) -> Result<Predecessor, LockError> {
        let options = GetOptions::new()
            .with_prefix()
            .with_keys_only()
            .with_limit(1)
            .with_max_create_revision(self.revision - 1)
            .with_sort(SortTarget::Create, SortOrder::Descend);
        let folder = key.folder.clone();
        let found = self.client.call(|mut etcd| async move { etcd.get(folder, Some(options)).await }).await?;
        Ok(found.kvs().first().map(|key| key.key().to_vec()))
    }

    /// Watches one key from now on, checks that it still exists, and keeps its own keys alive during the watch.
    ///
    /// It does not watch from the revision at which the key was read: etcd reports past changes only every
    /// 100 ms, and changes after the start of the watch at once.
    async fn wait_until_deleted(&self, key: Vec<u8>, deadline: Instant) -> Result<bool, LockError> {
        let client = &self.client;
        let watched = key.clone();
        let watch = |mut etcd: Client| async move {
            let mut watch = etcd.watch(watched, None).await?;
            // The first message confirms that the watch has started.
            watch.message().await.map(|_| watch)
        };
        let mut watch = client.call(watch).await?;
        let count = Some(GetOptions::new().with_count_only());
        if client.call(|mut etcd| async move { etcd.get(key, count).await }).await?.count() == 0 {
            return Ok(true);
        }
        let mut keep_alive = tokio::time::interval(self.granted_lease() / 3);
        keep_alive.tick().await;
        loop {
            tokio::select! {
                message = watch.message() => match message.map_err(|error| client.failed(error))? {
                    // The watched revision was compacted: the caller reads the queue again.
                    Some(message) if message.canceled() => return Ok(true),
                    Some(message) if message.events().iter().any(|event| event.event_type() == EventType::Delete) => {
                        return Ok(true);
                    }
                    Some(_) => {}
                    None => return Err(client.service.unexpected("a watch that ended")),
                },
                _ = keep_alive.tick() => self.renew().await.map_err(|error| client.queue_position_lost(error))?,
                () = tokio::time::sleep_until(deadline) => return Ok(false),
            }
        }
    }

    /// Replaces the lease. Returns until when the lock is valid.
    pub(super) async fn extend_lease(&self, lease: Lease) -> Result<Instant, LockError> {
        let started = Instant::now();
        let same_length = self.leases().first().is_some_and(|current| current.requested_seconds == seconds(lease));
        if same_length {
            self.renew().await?;
        } else {
            self.switch_lease(lease).await?;
        }
        Ok(started + lease.usable())
    }

    /// Restarts the current lease, if the keys and the lease still exist.
    async fn renew(&self) -> Result<(), LockError> {
        let id = self.leases().first().map_or(0, |lease| lease.id);
        let renewed = self.client.call_if_found(|mut etcd| async move { etcd.lease_keep_alive(id).await }).await?;
        // Checked after the renewal: keys that exist now live as long as the lease.
        if renewed.is_some() && self.if_still_owned(Vec::new(), Vec::new()).await? { Ok(()) } else { Err(self.lost()) }
    }

    /// Moves the keys to a lease of another length. They keep their position and token.
    async fn switch_lease(&self, lease: Lease) -> Result<(), LockError> {
        let id = self.grant_lease(lease).await?;
        let puts = self.keys.iter().map(|key| self.put(key, id)).collect();
        if !self.if_still_owned(puts, Vec::new()).await? {
            return Err(self.lost());
        }
        let former = {
            let mut leases = self.leases();
            leases.sort_by_key(|lease| lease.id != id);
            leases.split_off(1)
        };
        self.revoke(former);
        Ok(())
    }

    async fn delete_keys(&self) -> Result<ReleaseOutcome, LockError> {
        let delete = || self.keys.iter().map(|key| TxnOp::delete(key.own.as_str(), None)).collect();
        let owned = self.if_still_owned(delete(), delete()).await?;
        Ok(if owned { ReleaseOutcome::Released } else { ReleaseOutcome::NotHeld })
    }

    /// Leaves the queues without having been granted the lock. What cannot be deleted now ends with its lease.
    pub(super) async fn dequeue(self) {
        let _ = self.delete_keys().await;
    }

    /// Revokes leases in a detached task. Their keys are deleted with them, even those whose answers were lost. Without
    /// an answer it asks once more, on a new connection: the first may have been silent.
    fn revoke(&self, leases: Vec<LeaseRef>) {
        if leases.is_empty() {
            return;
        }
        let (client, cleanup) = (Arc::clone(&self.client), self.client.cleanups.start());
        self.runtime.spawn(async move {
            let mut all_revoked = true;
            for LeaseRef { id, .. } in leases {
                let revoke = || client.call_if_found(|mut etcd| async move { etcd.lease_revoke(id).await });
                all_revoked &= revoke().await.is_ok() || revoke().await.is_ok();
            }
            if all_revoked {
                cleanup.complete();
            }
        });
    }

    async fn if_still_owned(&self, then: Vec<TxnOp>, otherwise: Vec<TxnOp>) -> Result<bool, LockError> {
        let owned = |key: &Key| Compare::create_revision(key.own.as_str(), CompareOp::Equal, self.revision);
        let conditions: Vec<_> = self.keys.iter().map(owned).collect();
        let txn = Txn::new().when(conditions).and_then(then).or_else(otherwise);
        Ok(self.client.call(|mut etcd| async move { etcd.txn(txn).await }).await?.succeeded())
    }

    fn put(&self, key: &Key, lease: i64) -> TxnOp {
        TxnOp::put(key.own.as_str(), &*self.owner, Some(PutOptions::new().with_lease(lease)))
    }

    fn lost(&self) -> LockError {
        LockError::Lost { resource: self.resource.clone() }
    }

    fn leases(&self) -> MutexGuard<'_, Vec<LeaseRef>> {
        self.leases.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl HeldLock for QueueEntry {
    fn extend(&self, lease: Lease) -> LockFuture<'_, Instant> {
        self.extend_lease(lease).boxed()
    }

    fn release(&self) -> LockFuture<'_, ReleaseOutcome> {
        self.delete_keys().boxed()
    }

    /// The destructor revokes the leases.
    fn release_detached(self: Box<Self>, _runtime: &Handle) {}

    /// The keys stay until their lease ends.
    fn abandon(self: Box<Self>, _runtime: &Handle) {
        self.leases().clear();
    }

    fn kept_for(&self, _lease: Lease) -> Duration {
        self.granted_lease()
    }
}

impl Drop for QueueEntry {
    /// Revokes the leases; an abandoned entry has none left.
    fn drop(&mut self) {
        let leases = std::mem::take(&mut *self.leases());
        self.revoke(leases);
    }
}

/// The lease in whole seconds, the unit of etcd, rounded up.
fn seconds(lease: Lease) -> i64 {
    i64::try_from(lease.get().as_millis().div_ceil(1000)).unwrap_or(i64::MAX)
}

/// A random positive number.
fn new_lease_id() -> i64 {
    (uuid::Uuid::new_v4().as_u64_pair().0 >> 1).cast_signed().max(1)
}
