//! One acquisition's nodes in the folders of its resources: while it waits, while it holds, until it
//! leaves. A entry that is dropped before it was left deletes, detached, whatever it may have created.

use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio::time::Instant;
use zookeeper_client::{Acls, CreateMode, Error, EventType, MultiWriteError, MultiWriteResult};

use super::ROOT;
use super::session::{Session, belongs_to};
use crate::backend::path_segment::segment;
use crate::grant::ReleaseOutcome;
use crate::locks::Request;
use crate::{Lease, LockError, Resource};

/// How often folders that vanish right after they were made are made again.
const TRIES: u32 = 10;

#[derive(Debug)]
pub(crate) struct QueueEntry {
    session: Arc<Session>,
    resource: Resource,
    owner: Arc<str>,
    folders: Vec<String>,
    /// One in each folder, in the same order, once they are known.
    nodes: Vec<String>,
    /// When the nodes are deleted; `None` once they are, or somebody else sees to it.
    end: watch::Sender<Option<Instant>>,
    abandoned: bool,
    runtime: Handle,
}

/// `/fenced-lock/{resource}`.
pub(super) fn folder(resource: &Resource) -> String {
    format!("{ROOT}/{}", segment(resource))
}

/// The number that ZooKeeper gave the node; its ticket in the queue.
pub(super) fn number(node: &str) -> Option<i64> {
    node.rsplit_once('-')?.1.parse().ok()
}

impl QueueEntry {
    pub(super) fn new(session: Arc<Session>, owner: Arc<str>, request: &Request) -> Self {
        Self {
            session,
            resource: request.resources[0].clone(),
            owner,
            folders: request.resources.iter().map(folder).collect(),
            nodes: Vec::new(),
            end: watch::Sender::new(None),
            abandoned: false,
            runtime: Handle::current(),
        }
    }

    pub(super) fn owner(&self) -> Arc<str> {
        Arc::clone(&self.owner)
    }

    /// How long the lock of a client that fell silent is kept.
    pub(crate) fn kept_for(&self, lease: Duration) -> Duration {
        lease.max(self.session.timeout())
    }

    /// Until when the ensemble keeps the nodes for certain.
    pub(crate) fn alive_until(&self) -> Instant {
        self.session.alive_until()
    }

    /// Resolves when the nodes cannot be relied upon any more.
    pub(crate) async fn session_lost(&self) {
        self.session.lost().await;
    }

    /// Asking costs ZooKeeper less than entering in vain: no write.
    pub(super) async fn is_taken(&self) -> Result<bool, LockError> {
        for folder in &self.folders {
            let children = self.session.call_if_found(self.session.client.list_children(folder)).await?;
            if children.is_some_and(|children| children.iter().any(|child| number(child).is_some())) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Stands at the end of all queues at once.
    pub(super) async fn enqueue(&mut self) -> Result<(), LockError> {
        // From here on there may be something to delete, heard of or not.
        self.end.send_replace(Some(Instant::now()));
        for _ in 0..TRIES {
            match self.create().await? {
                Some(nodes) => {
                    self.nodes = nodes;
                    return Ok(());
                }
                None => self.make_folders().await?,
            }
        }
        Err(self.session.unexpected("the folder of a resource vanishes whenever it is made"))
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
            Err(self.session.unexpected("fewer nodes than were created"))
        }
    }

    /// ZooKeeper deletes them once they have been empty for a while: none piles up.
    async fn make_folders(&self) -> Result<(), LockError> {
        let options = CreateMode::Container.with_acls(Acls::anyone_all());
        for folder in &self.folders {
            self.session.call_if_found(self.session.client.mkdir(folder, &options)).await?;
        }
        Ok(())
    }

    /// Waits until nobody is ahead in any queue; `false` when the deadline comes first, or at once
    /// for somebody who does not wait.
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
        let own = number(node).ok_or_else(|| self.session.unexpected("a node without a number"))?;
        let children = self.session.call_if_found(self.session.client.list_children(folder)).await?.unwrap_or_default();
        let others = children.into_iter().filter(|child| !belongs_to(child, &self.owner));
        let ahead = others.filter_map(|child| Some((number(&child).filter(|number| *number < own)?, child)));
        Ok(ahead.max().map(|(_, child)| child))
    }

    /// Watches one node. The session keeps our own alive meanwhile.
    async fn wait_until_deleted(&self, node: &str, deadline: Instant) -> Result<bool, LockError> {
        let (stat, watcher) = self.session.call(self.session.client.check_and_watch_stat(node)).await?;
        if stat.is_none() {
            return Ok(true);
        }
        tokio::select! {
            // Whatever happened to it, the next look tells.
            event = watcher.changed() => match event.event_type {
                EventType::Session if event.session_state.is_terminated() => Err(self.queue_position_lost()),
                _ => Ok(true),
            },
            () = self.session.lost() => Err(self.queue_position_lost()),
            () = tokio::time::sleep_until(deadline) => Ok(false),
        }
    }

    /// The zxid that created the nodes, read now: they are still there.
    pub(super) async fn confirmed(&self) -> Result<i64, LockError> {
        let mut zxid = 0;
        for node in &self.nodes {
            let found = self.session.call_if_found(self.session.client.get_data(node)).await?;
            let (_, stat) = found.ok_or_else(|| self.queue_position_lost())?;
            zxid = stat.czxid;
        }
        Ok(zxid)
    }

    /// From here on the nodes are deleted when their lease ends, even if the entry is forgotten.
    pub(super) fn schedule_deletion(&self, end: Instant) {
        self.end.send_replace(Some(end));
        let (session, folders, owner) = (Arc::clone(&self.session), self.folders.clone(), Arc::clone(&self.owner));
        let mut ends = self.end.subscribe();
        self.runtime.spawn(async move {
            if until_end(&mut ends, &session).await {
                session.sweep(&folders, &owner).await;
            }
        });
    }

    pub(crate) async fn extend(&self, lease: Lease) -> Result<Instant, LockError> {
        let started = Instant::now();
        for node in &self.nodes {
            match self.session.call_if_found(self.session.client.check_stat(node)).await {
                Ok(Some(Some(_))) => {}
                Ok(None | Some(None)) => return Err(self.lost()),
                Err(_) if self.session.client.state().is_terminated() => return Err(self.lost()),
                Err(error) => return Err(error),
            }
        }
        // The end may have come while we looked.
        let moved = self.end.send_if_modified(|end| {
            let still = end.is_some_and(|end| end > Instant::now());
            if still {
                *end = Some(started + lease.get());
            }
            still
        });
        if moved { Ok(started + lease.usable()) } else { Err(self.lost()) }
    }

    pub(crate) async fn release(&self) -> Result<ReleaseOutcome, LockError> {
        let mut lost_connection = false;
        let deleted = async {
            loop {
                match self.delete().await {
                    Ok(()) => return Ok(ReleaseOutcome::Released),
                    // While the session lives nobody deletes our nodes but we: the answer was lost.
                    Err(Error::NoNode) if lost_connection && !self.has_ended() => return Ok(ReleaseOutcome::Released),
                    Err(Error::NoNode | Error::SessionExpired) => return Ok(ReleaseOutcome::NotHeld),
                    // Asked again it waits for a connection, or hears that the session is gone.
                    Err(Error::ConnectionLoss) => lost_connection = true,
                    Err(error) => return Err(self.session.failed(error)),
                }
            }
        };
        let released = self.session.with_timeout(deleted).await;
        if matches!(released, Ok(ReleaseOutcome::Released)) {
            self.end.send_replace(None);
        }
        // Where some were gone, the others go when the entry is dropped.
        released
    }

    async fn delete(&self) -> Result<(), Error> {
        let mut writer = self.session.client.new_multi_writer();
        for node in &self.nodes {
            writer.add_delete(node, None)?;
        }
        let commit = writer.commit();
        commit.await.map_err(MultiWriteError::into).map(|_| ())
    }

    fn has_ended(&self) -> bool {
        self.end.borrow().is_none_or(|end| end <= Instant::now())
    }

    /// Gives up a ticket that was not granted. What cannot be reached now is deleted later.
    pub(super) async fn dequeue(self) {
        let _ = self.release().await;
    }

    /// The nodes stay until their lease ends.
    pub(crate) fn abandon(mut self) {
        self.abandoned = true;
    }

    fn lost(&self) -> LockError {
        LockError::Lost { resource: self.resource.clone() }
    }

    fn queue_position_lost(&self) -> LockError {
        self.session.unexpected("the ticket in the queue was lost while waiting")
    }
}

impl Drop for QueueEntry {
    fn drop(&mut self) {
        // The task that waits for the end of an abandoned one has all it needs.
        if !self.abandoned && self.end.send_replace(None).is_some() {
            let (session, folders, owner) = (Arc::clone(&self.session), self.folders.clone(), Arc::clone(&self.owner));
            self.runtime.spawn(async move { session.sweep(&folders, &owner).await });
        }
    }
}

/// `true` when the end came, `false` when somebody else sees to the nodes.
async fn until_end(ends: &mut watch::Receiver<Option<Instant>>, session: &Session) -> bool {
    loop {
        let Some(end) = *ends.borrow_and_update() else {
            return false;
        };
        tokio::select! {
            () = tokio::time::sleep_until(end) => return true,
            () = session.terminated() => return false,
            // Nobody can move the end any more once the entry is gone.
            () = moved(ends) => {}
        }
    }
}

/// Resolves when the end is moved, and never if it cannot be any more.
async fn moved(ends: &mut watch::Receiver<Option<Instant>>) {
    if ends.changed().await.is_err() {
        std::future::pending::<()>().await;
    }
}

fn created_path(result: MultiWriteResult) -> Option<String> {
    match result {
        MultiWriteResult::Create { path, .. } => Some(path),
        _ => None,
    }
}
