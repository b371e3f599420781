//! ZooKeeper: whoever has the lowest number among the ephemeral nodes of a resource has the lock.
//!
//! An acquisition creates one sequential node in the folder of each resource, all in one
//! transaction. Its zxid is its place in every queue and its fencing token, so sets cannot wait in a
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
pub(crate) use self::queue_entry::Stake as Held;
use self::queue_entry::{Stake, folder, number};
use self::session::Sessions;
use crate::grant::{self, Lent};
use crate::holder::{Change, Holder};
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
    pub(crate) async fn acquire(&self, request: &Request) -> Result<Option<Lent>, LockError> {
        let began = Instant::now();
        let mut stake = Stake::new(self.sessions.get().await?, self.next_owner(), request);
        if !request.waits && stake.is_taken().await? {
            return Ok(None);
        }
        stake.enter().await?;
        if !stake.until_first(request.waits, request.deadline).await? {
            stake.leave().await;
            return Ok(None);
        }
        let counted_from = Instant::now();
        let token = token(stake.confirmed().await?, &request.resources[0])?;
        let valid_until = counted_from + request.lease.usable();
        if Instant::now() >= valid_until.min(stake.alive_until()) {
            return Err(LockError::Lapsed { lease: request.lease.get(), elapsed: began.elapsed() });
        }
        stake.end_at(counted_from + request.lease.get());
        Ok(Some(Lent {
            owner: stake.owner(),
            tokens: vec![Some(token); request.resources.len()],
            valid_until,
            held: grant::Held::Zookeeper(stake),
        }))
    }

    /// Who has it, and a watch on everything that may change that.
    pub(crate) async fn look(&self, resource: &Resource) -> Result<(Option<Holder>, Change), LockError> {
        let (session, folder) = (self.sessions.get().await?, folder(resource));
        loop {
            let Some((children, change)) = session.ask_for(session.client.list_and_watch_children(&folder)).await?
            else {
                // The folder will be made by the next one who enters.
                return Ok((None, Change::Untold));
            };
            let Some((_, first)) = children.iter().filter_map(|child| Some((number(child)?, child))).min() else {
                return Ok((None, Change::Zookeeper(change)));
            };
            let found = session.ask_for(session.client.get_data(&format!("{folder}/{first}"))).await?;
            if let Some((name, stat)) = found {
                let name = String::from_utf8_lossy(&name).into_owned();
                let holder = Holder::new(name, Some(token(stat.czxid, resource)?));
                return Ok((Some(holder), Change::Zookeeper(change)));
            }
        }
    }

    /// Zxids are ZooKeeper's own and only grow: either they are past the floor, or cannot be brought there.
    pub(crate) async fn raise_floor(&self, resource: &Resource, at_least: Token) -> Result<(), LockError> {
        let session = self.sessions.get().await?;
        let probe = format!("{ROOT}/probe.{}", self.next_owner());
        let (directory, ephemeral) =
            (CreateMode::Persistent.with_acls(Acls::anyone_all()), CreateMode::Ephemeral.with_acls(Acls::anyone_all()));
        session.ask(session.client.mkdir(ROOT, &directory)).await?;
        session.ask(session.client.create(&probe, &[], &ephemeral)).await?;
        let found = session.ask(session.client.get_data(&probe)).await;
        session.ask_for(session.client.delete(&probe, None)).await?;
        let (_, stat) = found?;
        if u64::try_from(stat.czxid).is_ok_and(|zxid| zxid >= at_least.get()) {
            return Ok(());
        }
        Err(LockError::FloorOutOfReach { backend: "zookeeper", resource: resource.clone(), at_least })
    }

    pub(crate) async fn ready(&self) -> Result<(), LockError> {
        let session = self.sessions.get().await?;
        session.ask(session.client.check_stat("/")).await.map(|_| ())
    }

    fn next_owner(&self) -> Arc<str> {
        format!("{}.{}", self.client_id, self.next_number.fetch_add(1, Ordering::Relaxed)).into()
    }
}

fn token(zxid: i64, resource: &Resource) -> Result<Token, LockError> {
    let zxid = u64::try_from(zxid).unwrap_or_default();
    Token::new(zxid).map_err(|_| LockError::TokensExhausted { resource: resource.clone() })
}
