//! One acquisition's nodes in the folders of its resources: while it waits, while it holds the lock, until it is
//! removed. An entry that is dropped before that deletes, in a detached task, every node that it may have created.

use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio::time::Instant;
use zookeeper_client::{Acls, CreateMode, Error, EventType, MultiWriteError, MultiWriteResult};

use super::folders::{belongs_to, folder, sequence_number};
use super::session::{Session, is_unanswered};
use crate::lock_backend::{HeldLock, LockFuture};
use crate::request::Request;
use crate::{Lease, LockError, ReleaseOutcome, Resource};

/// How many times folders are created that are deleted again at once.
const MAX_TRIES: u32 = 10;

#[derive(Debug)]
pub(super) struct QueueEntry {
    session: Arc<Session>,
    resource: Resource,
    owner: Arc<str>,
    folders: Vec<String>,
    /// One in each folder, in the same order. Empty until they are created.
    nodes: Vec<String>,
    /// When the nodes must be deleted. `None` while there are none, and once a task deletes them.
    delete_at: watch::Sender<Option<Instant>>,
    abandoned: bool,
    runtime: Handle,
}

impl QueueEntry {
    pub(super) fn new(session: Arc<Session>, owner: Arc<str>, request: &Request) -> Self {
        Self {
            session,
            resource: request.resources[0].clone(),
            owner,
            folders: request.resources.iter().map(folder).collect(),
            nodes: Vec::new(),
            delete_at: watch::Sender::new(None),
            abandoned: false,
            runtime: Handle::current(),
        }
    }

    pub(super) fn owner(&self) -> Arc<str> {
        Arc::clone(&self.owner)
    }

    /// Until when the ensemble keeps the nodes for certain.
    pub(super) fn session_alive_until(&self) -> Instant {
        self.session.alive_until()
    }

    /// Whether a queue has an entry. This read costs less than an entry that is not granted, which is a write.
    pub(super) async fn is_taken(&self) -> Result<bool, LockError> {
        for folder in &self.folders {
            let children = self.session.call_if_found(self.session.client.list_children(folder)).await?;
            if children.is_some_and(|children| children.iter().any(|child| sequence_number(child).is_some())) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Joins the end of all queues at once.
    pub(super) async fn enqueue(&mut self) -> Result<(), LockError> {
        // From here on there may be nodes to delete, even if the answers are lost.
        self.delete_at.send_replace(Some(Instant::now()));
        for _ in 0..MAX_TRIES {
            match self.create().await? {
                Some(nodes) => {
                    self.nodes = nodes;
                    return Ok(());
                }
                None => self.make_folders().await?,
            }
        }
        Err(self.session.unexpected("the folder of a resource is deleted whenever it is created"))
    }

    /// `None` where a folder is missing.
    async fn create(&self) -> Result<Option<Vec<String>>, LockError> {
        let options = CreateMode::EphemeralSequential.with_acls(Acls::anyone_all());
        let mut writer = self.session.client.new_multi_writer();
        for folder in &self.folders {
            let path = format!("{folder}/{}-", self.owner);
            writer.add_create(&path, self.owner.as_bytes(), &options).map_err(|error| self.session.failed(error))?;
        }
        let commit = writer.commit();
        let created = self.session.call_if_found(async { commit.await.map_err(Error::from) }).await?;
        let Some(created) = created else {
            return Ok(None);
        };
        let paths: Vec<_> = created.into_iter().filter_map(created_path).collect();
        if paths.len() == self.folders.len() {
            Ok(Some(paths))
        } else {
            Err(self.session.unexpected("a transaction that reports too few nodes"))
        }
    }

    /// Container nodes: ZooKeeper deletes them once they have been empty for a while, so they do not accumulate.
    async fn make_folders(&self) -> Result<(), LockError> {
        let options = CreateMode::Container.with_acls(Acls::anyone_all());
        for folder in &self.folders {
            self.session.call_if_found(self.session.client.mkdir(folder, &options)).await?;
        }
        Ok(())
    }

    /// Waits until this entry is the first in every queue; `false` when the deadline comes first, or at once
    /// where it is not the first and `waits` is false.
    pub(super) async fn wait_until_first(&self, waits: bool, deadline: Instant) -> Result<bool, LockError> {
        for (folder, node) in self.folders.iter().zip(&self.nodes) {
            while let Some(predecessor) = self.predecessor(folder, node).await? {
                if !waits || !self.wait_until_deleted(&format!("{folder}/{predecessor}"), deadline).await? {
                    return Ok(false);
                }
            }
        }
        Ok(true)
    }

    async fn predecessor(&self, folder: &str, node: &str) -> Result<Option<String>, LockError> {
        let own = sequence_number(node).ok_or_else(|| self.session.unexpected("a node without a sequence number"))?;
        let children = self.session.call_if_found(self.session.client.list_children(folder)).await?.unwrap_or_default();
        let others = children.into_iter().filter(|child| !belongs_to(child, &self.owner));
        let lower = others.filter_map(|child| Some((sequence_number(&child).filter(|number| *number < own)?, child)));
        Ok(lower.max().map(|(_, child)| child))
    }

    /// Watches one node. The session keeps this entry's own nodes alive during the watch.
    async fn wait_until_deleted(&self, node: &str, deadline: Instant) -> Result<bool, LockError> {
        let (stat, watcher) = self.session.call(self.session.client.check_and_watch_stat(node)).await?;
        if stat.is_none() {
            return Ok(true);
        }
        tokio::select! {
            // The caller reads the queue again, whatever the event is.
            event = watcher.changed() => match event.event_type {
                EventType::Session if event.session_state.is_terminated() => Err(self.queue_position_lost()),
                _ => Ok(true),
            },
            () = self.session.lost() => Err(self.queue_position_lost()),
            () = tokio::time::sleep_until(deadline) => Ok(false),
        }
    }

    /// Reads the zxid that created the nodes, which shows that they still exist.
    pub(super) async fn confirm(&self) -> Result<i64, LockError> {
        let mut zxid = 0;
        for node in &self.nodes {
            let found = self.session.call_if_found(self.session.client.get_data(node)).await?;
            let (_, stat) = found.ok_or_else(|| self.queue_position_lost())?;
            zxid = stat.czxid;
        }
        Ok(zxid)
    }

    /// From here on a task deletes the nodes when their lease ends, even if this entry is never dropped.
    pub(super) fn schedule_deletion(&self, at: Instant) {
        self.delete_at.send_replace(Some(at));
        let (session, folders, owner) = (Arc::clone(&self.session), self.folders.clone(), Arc::clone(&self.owner));
        let mut delete_at = self.delete_at.subscribe();
        self.runtime.spawn(async move {
            if wait_for_deletion_time(&mut delete_at, &session).await {
                session.delete_nodes(session.start_cleanup(), &folders, &owner).await;
            }
        });
    }

    async fn extend_lease(&self, lease: Lease) -> Result<Instant, LockError> {
        let started = Instant::now();
        for node in &self.nodes {
            match self.session.call_if_found(self.session.client.check_stat(node)).await {
                Ok(Some(Some(_))) => {}
                Ok(None | Some(None)) => return Err(self.lost()),
                Err(_) if self.session.client.state().is_terminated() => return Err(self.lost()),
                Err(error) => return Err(error),
            }
        }
        // The lease may have ended since the check.
        let moved = self.delete_at.send_if_modified(|delete_at| {
            let in_future = delete_at.is_some_and(|at| at > Instant::now());
            if in_future {
                *delete_at = Some(started + lease.get());
            }
            in_future
        });
        if moved { Ok(started + lease.usable()) } else { Err(self.lost()) }
    }

    async fn delete_nodes(&self) -> Result<ReleaseOutcome, LockError> {
        let mut lost_connection = false;
        let deleted = async {
            loop {
                match self.try_delete().await {
                    Ok(()) => return Ok(ReleaseOutcome::Released),
                    // While the session lives only this client deletes its nodes: an earlier answer was lost.
                    Err(Error::NoNode) if lost_connection && !self.deletion_is_due() => {
                        return Ok(ReleaseOutcome::Released);
                    }
                    Err(Error::NoNode | Error::SessionExpired) => return Ok(ReleaseOutcome::NotHeld),
                    // The next try waits for a connection, or fails because the session has ended.
                    Err(error) if is_unanswered(&error) => lost_connection = true,
                    Err(error) => return Err(self.session.failed(error)),
                }
            }
        };
        let released = self.session.with_timeout(deleted).await;
        if matches!(released, Ok(ReleaseOutcome::Released)) {
            self.delete_at.send_replace(None);
        }
        // Where some nodes were already deleted, the destructor deletes the others.
        released
    }

    async fn try_delete(&self) -> Result<(), Error> {
        let mut writer = self.session.client.new_multi_writer();
        for node in &self.nodes {
            writer.add_delete(node, None)?;
        }
        let commit = writer.commit();
        commit.await.map_err(MultiWriteError::into).map(|_| ())
    }

    fn deletion_is_due(&self) -> bool {
        self.delete_at.borrow().is_none_or(|at| at <= Instant::now())
    }

    /// Leaves the queues without having been granted the lock. What cannot be deleted now is deleted later.
    pub(super) async fn dequeue(self) {
        let _ = self.delete_nodes().await;
    }

    fn lost(&self) -> LockError {
        LockError::Lost { resource: self.resource.clone() }
    }

    fn queue_position_lost(&self) -> LockError {
        self.session.unexpected("the queue entry was lost while waiting")
    }
}

impl HeldLock for QueueEntry {
    fn extend(&self, lease: Lease) -> LockFuture<'_, Instant> {
        self.extend_lease(lease).boxed()
    }

    fn release(&self) -> LockFuture<'_, ReleaseOutcome> {
        self.delete_nodes().boxed()
    }

    /// The destructor deletes the nodes.
    fn release_detached(self: Box<Self>, _runtime: &Handle) {}

    /// The nodes stay until their lease ends.
    fn abandon(mut self: Box<Self>, _runtime: &Handle) {
        self.abandoned = true;
    }

    fn kept_for(&self, lease: Lease) -> Duration {
        lease.get().max(self.session.timeout())
    }

    fn session_until(&self) -> Option<Instant> {
        Some(self.session_alive_until())
    }

    fn session_lost(&self) -> BoxFuture<'_, ()> {
        self.session.lost().boxed()
    }
}

impl Drop for QueueEntry {
    fn drop(&mut self) {
        // The nodes of an abandoned entry are deleted by the task that waits for the end of its lease.
        if !self.abandoned && self.delete_at.send_replace(None).is_some() {
            let (session, folders, owner) = (Arc::clone(&self.session), self.folders.clone(), Arc::clone(&self.owner));
            let cleanup = self.session.start_cleanup();
            self.runtime.spawn(async move { session.delete_nodes(cleanup, &folders, &owner).await });
        }
    }
}

/// `true` when the time has come, `false` when another task deletes the nodes or the session has ended.
async fn wait_for_deletion_time(delete_at: &mut watch::Receiver<Option<Instant>>, session: &Session) -> bool {
    loop {
        let Some(at) = *delete_at.borrow_and_update() else {
            return false;
        };
        tokio::select! {
            () = tokio::time::sleep_until(at) => return true,
            () = session.terminated() => return false,
            // The time cannot be moved any more once the entry is dropped.
            () = moved(delete_at) => {}
        }
    }
}

/// Resolves when the time is moved, and never once it cannot be moved any more.
async fn moved(delete_at: &mut watch::Receiver<Option<Instant>>) {
    if delete_at.changed().await.is_err() {
        std::future::pending::<()>().await;
    }
}

fn created_path(result: MultiWriteResult) -> Option<String> {
    match result {
        MultiWriteResult::Create { path, .. } => Some(path),
        _ => None,
    }
}
