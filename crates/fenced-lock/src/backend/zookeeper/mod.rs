//! ZooKeeper: the lowest sequential node in the folder of a resource holds the lock.
//!
//! An acquisition creates one ephemeral sequential node in the folder of each resource, all in one transaction.
//! Its zxid is its position in every queue and its fencing token, so sets cannot wait for each other in a circle,
//! and tokens grow in the order in which locks are granted. A waiter watches the node right before its own and
//! nothing else.
//!
//! A lock that is not released ends in one of two ways: this client deletes its nodes when the lease ends, or the
//! ensemble deletes them when the session of an unresponsive client ends.
//!
//! Source: ZooKeeper, "Recipes and Solutions", Locks.

mod ensemble;
mod folders;
mod queue_entry;
mod session;

use std::sync::Arc;

use futures_util::FutureExt as _;
use tokio::time::Instant;
use zookeeper_client::{Acls, CreateMode};

pub use self::ensemble::ZookeeperEnsemble;
use self::folders::{ROOT, folder, sequence_number};
use self::queue_entry::QueueEntry;
use self::session::Sessions;
use crate::backend::owner_names::OwnerNames;
use crate::cleanups::Cleanups;
use crate::lock_backend::{Acquired, LockBackend, LockFuture, Notification, poll_later};
use crate::request::Request;
use crate::{Holder, LockError, Locks, Options, Resource, Token};

impl Locks {
    /// A ZooKeeper ensemble, 3.5.3 or later; the token is the zxid that created the lock's node.
    ///
    /// The locks of an unresponsive client are kept until its session ends, which may be later than the lease
    /// ([`ZookeeperEnsemble::with_session`], [`Grant::kept_for`](crate::Grant::kept_for)); `valid_until` is the
    /// earlier of both. Every grant is a write that a majority has flushed to disk, so allow it a longer
    /// [`NodeTimeout`](crate::NodeTimeout) than a Redis node.
    ///
    /// Connects at its first use; never fails because ZooKeeper is down.
    pub fn zookeeper(ensemble: ZookeeperEnsemble, options: Options) -> Self {
        let zookeeper = Zookeeper {
            sessions: Sessions::new(ensemble, options.node_timeout()),
            owners: OwnerNames::new(options.client_name()),
        };
        Self::new(Arc::new(zookeeper), &options)
    }
}

/// One client of an ensemble.
#[derive(Debug)]
struct Zookeeper {
    sessions: Sessions,
    owners: OwnerNames,
}

impl Zookeeper {
    async fn acquire_by_deadline(&self, request: &Request) -> Result<Option<Acquired>, LockError> {
        let started = Instant::now();
        let mut entry = QueueEntry::new(self.sessions.get().await?, self.owners.next(), request);
        if !request.waits && entry.is_taken().await? {
            return Ok(None);
        }
        entry.enqueue().await?;
        if !entry.wait_until_first(request.waits, request.deadline).await? {
            entry.dequeue().await;
            return Ok(None);
        }
        let lease_start = Instant::now();
        let token = token(entry.confirm().await?, &request.resources[0])?;
        let valid_until = lease_start + request.lease.usable();
        if Instant::now() >= valid_until.min(entry.session_alive_until()) {
            return Err(LockError::Lapsed { lease: request.lease.get(), elapsed: started.elapsed() });
        }
        entry.schedule_deletion(lease_start + request.lease.get());
        Ok(Some(Acquired {
            owner: entry.owner(),
            tokens: vec![Some(token); request.resources.len()],
            valid_until,
            held: Box::new(entry),
        }))
    }

    /// The holder, and a watch on the nodes of the resource.
    async fn read_and_watch(&self, resource: &Resource) -> Result<(Option<Holder>, Notification), LockError> {
        let (session, folder) = (self.sessions.get().await?, folder(resource));
        loop {
            let children = session.call_if_found(session.client.list_and_watch_children(&folder)).await?;
            let Some((children, watcher)) = children else {
                // The next acquisition creates the folder.
                return Ok((None, poll_later()));
            };
            let changed = async move {
                watcher.changed().await;
            };
            let numbered = children.iter().filter_map(|child| Some((sequence_number(child)?, child)));
            let Some((_, first)) = numbered.min() else {
                return Ok((None, changed.boxed()));
            };
            let found = session.call_if_found(session.client.get_data(&format!("{folder}/{first}"))).await?;
            if let Some((name, stat)) = found {
                let name = String::from_utf8_lossy(&name).into_owned();
                let holder = Holder { name, token: Some(token(stat.czxid, resource)?) };
                return Ok((Some(holder), changed.boxed()));
            }
        }
    }

    /// The zxid of a write that is made now.
    async fn current_zxid(&self) -> Result<i64, LockError> {
        let session = self.sessions.get().await?;
        let probe = format!("{ROOT}/probe.{}", self.owners.next());
        let directory = CreateMode::Persistent.with_acls(Acls::anyone_all());
        let ephemeral = CreateMode::Ephemeral.with_acls(Acls::anyone_all());
        session.call(session.client.mkdir(ROOT, &directory)).await?;
        session.call(session.client.create(&probe, &[], &ephemeral)).await?;
        let found = session.call(session.client.get_data(&probe)).await;
        session.call_if_found(session.client.delete(&probe, None)).await?;
        found.map(|(_, stat)| stat.czxid)
    }
}

impl LockBackend for Zookeeper {
    fn name(&self) -> &'static str {
        "zookeeper"
    }

    fn acquire<'a>(&'a self, request: &'a Request) -> LockFuture<'a, Option<Acquired>> {
        self.acquire_by_deadline(request).boxed()
    }

    /// Zxids only grow, and only by themselves: either they have reached the floor, or they cannot be raised.
    fn raise_floor<'a>(&'a self, resource: &'a Resource, at_least: Token) -> LockFuture<'a, ()> {
        async move {
            if u64::try_from(self.current_zxid().await?).is_ok_and(|zxid| zxid >= at_least.get()) {
                return Ok(());
            }
            Err(LockError::FloorOutOfReach { backend: self.name(), resource: resource.clone(), at_least })
        }
        .boxed()
    }

    fn read_holder<'a>(&'a self, resource: &'a Resource) -> LockFuture<'a, (Option<Holder>, Notification)> {
        self.read_and_watch(resource).boxed()
    }

    /// A node can be created: a server answers reads by itself, a write needs a quorum.
    fn ready(&self) -> LockFuture<'_, ()> {
        async move { self.current_zxid().await.map(|_| ()) }.boxed()
    }

    fn cleanups(&self) -> Cleanups {
        self.sessions.cleanups.clone()
    }
}

fn token(zxid: i64, resource: &Resource) -> Result<Token, LockError> {
    let zxid = u64::try_from(zxid).unwrap_or_default();
    Token::new(zxid).map_err(|_| LockError::TokensExhausted { resource: resource.clone() })
}
