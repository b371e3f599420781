//! One acquisition's keys in the queues of its resources, and the leases they live under: while it
//! waits, while it holds, until it leaves. A entry that is dropped before it was left gives back,
//! detached, whatever it may have put.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use etcd_client::{
    Client, Compare, CompareOp, EventType, GetOptions, LeaseGrantOptions, PutOptions, SortOrder, SortTarget, Txn,
    TxnOp, TxnOpResponse,
};
use tokio::runtime::Handle;
use tokio::time::Instant;

use super::Etcd;
use crate::backend::path_segment::segment;
use crate::grant::ReleaseOutcome;
use crate::locks::Request;
use crate::{Lease, LockError, Resource};

/// One key of ours: `fenced-lock/{resource}/{owner}`.
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

/// A lease of etcd, named by us, so that it can be revoked even if nobody heard that it was granted.
#[derive(Clone, Copy, Debug)]
struct LeaseRef {
    id: i64,
    asked: i64,
    /// What etcd made of it: at least what was asked.
    granted: Duration,
}

#[derive(Debug)]
pub(crate) struct QueueEntry {
    etcd: Arc<Etcd>,
    resource: Resource,
    keys: Vec<Key>,
    owner: Arc<str>,
    /// The revision that created all keys.
    revision: i64,
    /// The lease of the keys, and after it those that may be: an extension changes to a new one.
    leases: Mutex<Vec<LeaseRef>>,
    runtime: Handle,
}

impl QueueEntry {
    pub(super) fn new(etcd: &Arc<Etcd>, request: &Request) -> Self {
        let owner = etcd.next_owner();
        let key = |resource| {
            let folder = Key::folder(resource);
            Key { own: format!("{folder}{owner}"), folder }
        };
        Self {
            keys: request.resources.iter().map(key).collect(),
            resource: request.resources[0].clone(),
            etcd: Arc::clone(etcd),
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

    /// How long etcd keeps the lock: it counts in whole seconds, and not below its election time-out.
    pub(crate) fn kept_for(&self) -> Duration {
        self.leases().first().map_or(Duration::ZERO, |leases| leases.granted)
    }

    /// A new lease; from here on the entry has something to give back.
    pub(super) async fn grant_lease(&self, lease: Lease) -> Result<i64, LockError> {
        let (id, asked) = (new_lease_id(), seconds(lease));
        self.leases().push(LeaseRef { id, asked, granted: Duration::ZERO });
        let options = LeaseGrantOptions::new().with_id(id);
        let granted = self.etcd.calls.call(|mut etcd| async move { etcd.lease_grant(asked, Some(options)).await });
        let granted = Duration::from_secs(u64::try_from(granted.await?.ttl()).unwrap_or_default());
        if granted < lease.get() {
            return Err(self.etcd.calls.service.unexpected("a lease shorter than what was asked for"));
        }
        if let Some(leases) = self.leases().iter_mut().find(|leases| leases.id == id) {
            leases.granted = granted;
        }
        if granted != lease.get() {
            tracing::debug!(asked = ?lease.get(), ?granted, "etcd rounds a lease up");
        }
        Ok(id)
    }

    /// Stands at the end of all queues at once; if `behind_others` is not wanted, only where all are
    /// empty. Tells who is right ahead in each.
    pub(super) async fn enqueue(&mut self, behind_others: bool) -> Result<Option<Vec<Option<Vec<u8>>>>, LockError> {
        let lease = self.leases().first().map_or(0, |leases| leases.id);
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
        let looks = self.keys.iter().map(|key| TxnOp::get(key.folder.as_str(), Some(last_two())));
        let txn = Txn::new().when(conditions).and_then(puts.chain(looks).collect::<Vec<_>>());
        let entered = self.etcd.calls.call(|mut etcd| async move { etcd.txn(txn).await }).await?;
        if !entered.succeeded() {
            return Ok(None);
        }
        let header = entered.header().ok_or_else(|| self.etcd.calls.service.unexpected("no revision"))?;
        self.revision = header.revision();
        let ahead = entered.op_responses().into_iter().filter_map(|answer| match answer {
            TxnOpResponse::Get(found) => Some(found.kvs().get(1).map(|key| key.key().to_vec())),
            TxnOpResponse::Put(_) | TxnOpResponse::Delete(_) | TxnOpResponse::Txn(_) => None,
        });
        Ok(Some(ahead.collect()))
    }

    /// Waits until nobody is ahead in any queue; `false` when the deadline comes first.
    pub(super) async fn wait_until_first(
        &self,
        ahead: Vec<Option<Vec<u8>>>,
        deadline: Instant,
    ) -> Result<bool, LockError> {
        for (key, ahead) in self.keys.iter().zip(ahead) {
            let mut next = ahead;
            while let Some(predecessor) = next {
                if !self.wait_until_deleted(predecessor, deadline).await? {
                    return Ok(false);
                }
                next = self.predecessor(key).await?;
            }
        }
        Ok(true)
    }

    async fn predecessor(&self, key: &Key) -> Result<Option<Vec<u8>>, LockError> {
        let options = GetOptions::new()
            .with_prefix()
            .with_keys_only()
            .with_limit(1)
            .with_max_create_revision(self.revision - 1)
            .with_sort(SortTarget::Create, SortOrder::Descend);
        let folder = key.folder.clone();
        let found = self.etcd.calls.call(|mut etcd| async move { etcd.get(folder, Some(options)).await }).await?;
        Ok(found.kvs().first().map(|key| key.key().to_vec()))
    }

    /// Watches one key from now on, looks whether it is still there, and keeps our own alive meanwhile.
    ///
    /// Not from the revision at which it was seen: etcd tells what has been only every 100 ms, and
    /// what happens after the watch at once.
    async fn wait_until_deleted(&self, key: Vec<u8>, deadline: Instant) -> Result<bool, LockError> {
        let calls = &self.etcd.calls;
        let watched = key.clone();
        let watch = |mut etcd: Client| async move {
            let mut watch = etcd.watch(watched, None).await?;
            // Only its first answer says that it watches.
            watch.message().await.map(|_| watch)
        };
        let mut watch = calls.call(watch).await?;
        let count = Some(GetOptions::new().with_count_only());
        if calls.call(|mut etcd| async move { etcd.get(key, count).await }).await?.count() == 0 {
            return Ok(true);
        }
        let mut reminder = tokio::time::interval(self.kept_for() / 3);
        reminder.tick().await;
        loop {
            tokio::select! {
                told = watch.message() => match told.map_err(|error| calls.failed(error))? {
                    // History that is gone: look again.
                    Some(told) if told.canceled() => return Ok(true),
                    Some(told) if told.events().iter().any(|event| event.event_type() == EventType::Delete) => return Ok(true),
                    Some(_) => {}
                    None => return Err(calls.service.unexpected("a watch that ended")),
                },
                _ = reminder.tick() => self.renew().await.map_err(|error| self.etcd.queue_position_lost(error))?,
                () = tokio::time::sleep_until(deadline) => return Ok(false),
            }
        }
    }

    pub(crate) async fn extend(&self, lease: Lease) -> Result<Instant, LockError> {
        let started = Instant::now();
        let as_before = self.leases().first().is_some_and(|leases| leases.asked == seconds(lease));
        if as_before {
            self.renew().await?;
        } else {
            self.switch_lease(lease).await?;
        }
        Ok(started + lease.usable())
    }

    /// The same lease from the start, if keys and lease are still there.
    async fn renew(&self) -> Result<(), LockError> {
        let id = self.leases().first().map_or(0, |leases| leases.id);
        let kept = self.etcd.calls.call_if_found(|mut etcd| async move { etcd.lease_keep_alive(id).await }).await?;
        // Only now: what is still there after the lease was renewed will be as long as it lasts.
        if kept.is_some() && self.if_still_owned(Vec::new(), Vec::new()).await? { Ok(()) } else { Err(self.lost()) }
    }

    /// A lease of another length: the keys stay, and with them ticket and token.
    async fn switch_lease(&self, lease: Lease) -> Result<(), LockError> {
        let id = self.grant_lease(lease).await?;
        let puts = self.keys.iter().map(|key| self.put(key, id)).collect();
        if !self.if_still_owned(puts, Vec::new()).await? {
            return Err(self.lost());
        }
        let former = {
            let mut leases = self.leases();
            leases.sort_by_key(|leases| leases.id != id);
            leases.split_off(1)
        };
        self.revoke(former);
        Ok(())
    }

    pub(crate) async fn release(&self) -> Result<ReleaseOutcome, LockError> {
        let delete = || self.keys.iter().map(|key| TxnOp::delete(key.own.as_str(), None)).collect();
        let ours = self.if_still_owned(delete(), delete()).await?;
        Ok(if ours { ReleaseOutcome::Released } else { ReleaseOutcome::NotHeld })
    }

    /// Gives up a ticket that was not granted. What cannot be reached now ends with its lease.
    pub(super) async fn dequeue(self) {
        let _ = self.release().await;
    }

    /// The keys stay until their lease ends.
    pub(crate) fn abandon(self) {
        self.leases().clear();
    }

    /// Keys go with their lease, all at once, whether they were heard of or not.
    fn revoke(&self, leases: Vec<LeaseRef>) {
        if leases.is_empty() {
            return;
        }
        let etcd = Arc::clone(&self.etcd);
        self.runtime.spawn(async move {
            for LeaseRef { id, .. } in leases {
                let _ = etcd.calls.call_if_found(|mut etcd| async move { etcd.lease_revoke(id).await }).await;
            }
        });
    }

    async fn if_still_owned(&self, then: Vec<TxnOp>, otherwise: Vec<TxnOp>) -> Result<bool, LockError> {
        let ours = |key: &Key| Compare::create_revision(key.own.as_str(), CompareOp::Equal, self.revision);
        let conditions: Vec<_> = self.keys.iter().map(ours).collect();
        let txn = Txn::new().when(conditions).and_then(then).or_else(otherwise);
        Ok(self.etcd.calls.call(|mut etcd| async move { etcd.txn(txn).await }).await?.succeeded())
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

impl Drop for QueueEntry {
    /// Leases end with the entry in any case; only one that is abandoned outlives it.
    fn drop(&mut self) {
        let leases = std::mem::take(&mut *self.leases());
        self.revoke(leases);
    }
}

/// etcd counts in whole seconds; a lease is never cut.
fn seconds(lease: Lease) -> i64 {
    i64::try_from(lease.get().as_millis().div_ceil(1000)).unwrap_or(i64::MAX)
}

/// Positive, and different for everybody.
fn new_lease_id() -> i64 {
    (uuid::Uuid::new_v4().as_u64_pair().0 >> 1).cast_signed().max(1)
}
