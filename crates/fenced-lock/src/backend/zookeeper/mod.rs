//! ZooKeeper: whoever has the lowest number among the ephemeral nodes of a resource has the lock.
//!
//! An acquisition creates one sequential node in the folder of each resource, all in one
//! transaction. Its zxid is its ticket in every queue and its fencing token, so sets cannot wait in a
//! circle, and tokens grow in the order in which locks are granted. A waiter watches the node right
//! before its own and nothing else.
//!
//! Two things end a lock that is not given back: this client deletes it when its lease ends, and the
//! ensemble when the session of a client that fell silent does.
//!
//! Source: ZooKeeper, "Recipes and Solutions", Locks.

mod ensemble;
mod queue_entry;
mod session;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::time::Instant;
use zookeeper_client::{Acls, CreateMode};

pub use self::ensemble::ZookeeperEnsemble;
pub(crate) use self::queue_entry::QueueEntry;
use self::queue_entry::{folder, number};
use self::session::Sessions;
use crate::grant::{self, Acquired};
use crate::holder::{Holder, Notification};
use crate::locks::Request;
use crate::{LockError, Options, Resource, Token};

/// The folder of all folders.
const ROOT: &str = "/fenced-lock";

/// One ensemble and everything that callers share.
#[derive(Debug)]
pub(crate) struct Zookeeper {
    sessions: Sessions,
    /// Unique to this client; owners are numbered after it.
    client_id: String,
    next_number: AtomicU64,
}

impl Zookeeper {
    pub(crate) fn new(ensemble: ZookeeperEnsemble, options: &Options) -> Arc<Self> {
        Arc::new(Self {
            sessions: Sessions::new(ensemble, options.node_timeout()),
            client_id: format!("{}.{}", options.client_name(), uuid::Uuid::now_v7().simple()),
            next_number: AtomicU64::new(1),
        })
    }

    /// Tries until granted, or until the deadline while somebody else has it.
    pub(crate) async fn acquire(&self, request: &Request) -> Result<Option<Acquired>, LockError> {
        let began = Instant::now();
        let mut entry = QueueEntry::new(self.sessions.get().await?, self.next_owner(), request);
        if !request.waits && entry.is_taken().await? {
            return Ok(None);
        }
        entry.enqueue().await?;
        if !entry.wait_until_first(request.waits, request.deadline).await? {
            entry.dequeue().await;
            return Ok(None);
        }
        let counted_from = Instant::now();
        let token = token(entry.confirmed().await?, &request.resources[0])?;
        let valid_until = counted_from + request.lease.usable();
        if Instant::now() >= valid_until.min(entry.alive_until()) {
            return Err(LockError::Lapsed { lease: request.lease.get(), elapsed: began.elapsed() });
        }
        entry.schedule_deletion(counted_from + request.lease.get());
        Ok(Some(Acquired {
            owner: entry.owner(),
            tokens: vec![Some(token); request.resources.len()],
            valid_until,
            held: grant::HeldLock::Zookeeper(entry),
        }))
    }

    /// Who has it, and a watch on everything that may change that.
    pub(crate) async fn read_holder(&self, resource: &Resource) -> Result<(Option<Holder>, Notification), LockError> {
        let (session, folder) = (self.sessions.get().await?, folder(resource));
        loop {
            let Some((children, change)) =
                session.call_if_found(session.client.list_and_watch_children(&folder)).await?
            else {
                // The folder will be made by the next one who enters.
                return Ok((None, Notification::Unknown));
            };
            let Some((_, first)) = children.iter().filter_map(|child| Some((number(child)?, child))).min() else {
                return Ok((None, Notification::Zookeeper(change)));
            };
            let found = session.call_if_found(session.client.get_data(&format!("{folder}/{first}"))).await?;
            if let Some((name, stat)) = found {
                let name = String::from_utf8_lossy(&name).into_owned();
                let holder = Holder::new(name, Some(token(stat.czxid, resource)?));
                return Ok((Some(holder), Notification::Zookeeper(change)));
            }
        }
    }

    /// Zxids are ZooKeeper's own and only grow: either they are past the floor, or cannot be brought there.
    pub(crate) async fn raise_floor(&self, resource: &Resource, at_least: Token) -> Result<(), LockError> {
        let session = self.sessions.get().await?;
        let probe = format!("{ROOT}/probe.{}", self.next_owner());
        let (directory, ephemeral) =
            (CreateMode::Persistent.with_acls(Acls::anyone_all()), CreateMode::Ephemeral.with_acls(Acls::anyone_all()));
        session.call(session.client.mkdir(ROOT, &directory)).await?;
        session.call(session.client.create(&probe, &[], &ephemeral)).await?;
        let found = session.call(session.client.get_data(&probe)).await;
        session.call_if_found(session.client.delete(&probe, None)).await?;
        let (_, stat) = found?;
        if u64::try_from(stat.czxid).is_ok_and(|zxid| zxid >= at_least.get()) {
            return Ok(());
        }
        Err(LockError::FloorOutOfReach { backend: "zookeeper", resource: resource.clone(), at_least })
    }

    pub(crate) async fn ready(&self) -> Result<(), LockError> {
        let session = self.sessions.get().await?;
        session.call(session.client.check_stat("/")).await.map(|_| ())
    }

    fn next_owner(&self) -> Arc<str> {
        format!("{}.{}", self.client_id, self.next_number.fetch_add(1, Ordering::Relaxed)).into()
    }
}

fn token(zxid: i64, resource: &Resource) -> Result<Token, LockError> {
    let zxid = u64::try_from(zxid).unwrap_or_default();
    Token::new(zxid).map_err(|_| LockError::TokensExhausted { resource: resource.clone() })
}
