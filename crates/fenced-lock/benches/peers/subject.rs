//! The compared locks behind one small interface. Every subject runs as its documentation shows it, with the same
//! lease; none is tuned.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use fenced_lock::{
    AdvisoryDatabase, EtcdEndpoints, Grant, Lease, Locks, NodeTimeout, NodeUrl, Nodes, Options, Resource, Wait,
    ZookeeperEnsemble,
};
use rslock::{LockGuard, LockManager};
use serde::{Deserialize, Serialize};

use crate::floor::{Floor, FloorGuard};
use crate::settings::LEASE;

/// A key without a history: some subjects leave a lock behind where a node was slow to answer, or when their client
/// ends.
pub(crate) fn fresh_key(subject: Subject) -> String {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    format!("{}-{}-{number}", subject.name(), std::process::id())
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Subject {
    /// The least that any Redlock has to do.
    Floor,
    /// This crate, with Redlock.
    Ours,
    Rslock,
    /// This crate, with another backend; the next three too.
    Redis,
    Etcd,
    Zookeeper,
    PostgresAdvisory,
}

/// The subjects that use several nodes and can wait for a lock.
pub(crate) const LOCKS: [Subject; 2] = [Subject::Ours, Subject::Rslock];

/// For backends that flush every grant to disk, as their documentation advises.
const DURABLE_BACKEND_TIMEOUT: Duration = Duration::from_secs(5);

/// One client of a subject; clones share its connections.
#[derive(Clone, Debug)]
pub(crate) enum Client {
    Floor(Floor),
    Ours(Locks),
    Rslock(LockManager),
}

pub(crate) enum Guard {
    Floor(FloorGuard),
    Ours(Grant),
    Rslock(LockGuard),
}

impl Subject {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Floor => "floor",
            Self::Ours => "ours",
            Self::Rslock => "rslock",
            Self::Redis => "redis",
            Self::Etcd => "etcd",
            Self::Zookeeper => "zookeeper",
            Self::PostgresAdvisory => "postgres-advisory",
        }
    }

    /// A client whose connections to all nodes are warm.
    pub(crate) async fn connect(self, urls: &[String]) -> Result<Client> {
        let durable =
            || Ok::<_, anyhow::Error>(Options::default().with_node_timeout(NodeTimeout::new(DURABLE_BACKEND_TIMEOUT)?));
        let url = urls.first().context("an address")?;
        let client = match self {
            Self::Floor => Client::Floor(Floor::connect(urls).await?),
            Self::Ours => {
                let nodes = urls.iter().map(|url| NodeUrl::parse(url)).collect::<Result<_, _>>()?;
                Client::Ours(Locks::redlock(Nodes::new(nodes)?, Options::default()))
            }
            Self::Rslock => Client::Rslock(LockManager::new(urls.to_vec())),
            Self::Redis => Client::Ours(Locks::redis(NodeUrl::parse(url)?, Options::default())),
            Self::Etcd => Client::Ours(Locks::etcd(EtcdEndpoints::parse(url)?, durable()?)),
            Self::Zookeeper => Client::Ours(Locks::zookeeper(ZookeeperEnsemble::parse(url)?, durable()?)),
            Self::PostgresAdvisory => Client::Ours(Locks::postgres_advisory(AdvisoryDatabase::parse(url)?, durable()?)),
        };
        let key = fresh_key(self);
        for turn in 0..20 {
            client.cycle(&format!("{key}-{turn}")).await?;
        }
        Ok(client)
    }
}

impl Client {
    /// Acquires a lock that is expected to be free within `wait`.
    pub(crate) async fn acquire(&self, key: &str, wait: Duration) -> Result<Guard> {
        match self {
            Self::Floor(floor) => Ok(Guard::Floor(floor.acquire(key).await?)),
            Self::Ours(locks) => {
                let grant = locks.try_lock(&Resource::new(key)?, Wait::up_to(wait), Lease::new(LEASE)?).await?;
                Ok(Guard::Ours(grant.context("the lock is held by another caller")?))
            }
            Self::Rslock(manager) => match tokio::time::timeout(wait, manager.acquire(key, LEASE)).await {
                Ok(guard) => Ok(Guard::Rslock(guard?)),
                Err(_) => bail!("the lock is held by another caller"),
            },
        }
    }

    /// An acquire and a release without contention. Returns how long both took.
    pub(crate) async fn cycle(&self, key: &str) -> Result<Duration> {
        let began = Instant::now();
        self.acquire(key, Duration::from_secs(30)).await?.release().await?;
        Ok(began.elapsed())
    }
}

impl Guard {
    pub(crate) async fn release(self) -> Result<()> {
        match self {
            Self::Floor(held) => held.release().await,
            Self::Ours(grant) => grant.release().await.map(drop).map_err(Into::into),
            Self::Rslock(guard) => {
                guard.release().await;
                Ok(())
            }
        }
    }
}
