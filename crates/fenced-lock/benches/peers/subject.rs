//! Who is compared, behind one small interface. Every subject runs as its documentation shows it,
//! with the same lease; nobody is tuned.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use fenced_lock::{Grant, Lease, Locks, NodeUrl, Nodes, Options, Resource, Wait};
use rslock::{LockGuard, LockManager};
use serde::{Deserialize, Serialize};

use crate::floor::{Floor, FloorHeld};

/// Longer than any cycle, so that no lease ends while something is measured.
pub(crate) const LEASE: Duration = Duration::from_secs(10);

static CLIENTS: AtomicU64 = AtomicU64::new(0);

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Subject {
    /// What any Redlock has to do at least.
    Floor,
    Ours,
    Rslock,
}

/// Those who can wait for a lock.
pub(crate) const LOCKS: [Subject; 2] = [Subject::Ours, Subject::Rslock];

/// One process's use of a subject; clones share its connections.
#[derive(Clone, Debug)]
pub(crate) enum Client {
    Floor(Floor),
    Ours(Locks),
    Rslock(LockManager),
}

pub(crate) enum Held {
    Floor(FloorHeld),
    Ours(Grant),
    Rslock(LockGuard),
}

impl Subject {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Floor => "floor",
            Self::Ours => "ours",
            Self::Rslock => "rslock",
        }
    }

    /// A client whose connections to all the nodes have been used once.
    pub(crate) async fn connect(self, urls: &[String]) -> Result<Client> {
        let client = match self {
            Self::Floor => Client::Floor(Floor::connect(urls).await?),
            Self::Ours => {
                let nodes = urls.iter().map(|url| NodeUrl::parse(url)).collect::<Result<_, _>>()?;
                Client::Ours(Locks::redlock(Nodes::new(nodes)?, Options::default()))
            }
            Self::Rslock => Client::Rslock(LockManager::new(urls.to_vec())),
        };
        // Keys that nobody else has used: some leave theirs behind when a node is slow to answer.
        let number = CLIENTS.fetch_add(1, Ordering::Relaxed);
        for turn in 0..20 {
            client.cycle(&format!("warm-up-{}-{number}-{turn}", std::process::id())).await?;
        }
        Ok(client)
    }
}

impl Client {
    /// Takes a lock that is expected to be free within `wait`.
    pub(crate) async fn acquire(&self, key: &str, wait: Duration) -> Result<Held> {
        match self {
            Self::Floor(floor) => Ok(Held::Floor(floor.acquire(key).await?)),
            Self::Ours(locks) => {
                let grant = locks.try_lock(&Resource::new(key)?, Wait::up_to(wait), Lease::new(LEASE)?).await?;
                Ok(Held::Ours(grant.context("somebody else has it")?))
            }
            Self::Rslock(manager) => match tokio::time::timeout(wait, manager.acquire(key, LEASE)).await {
                Ok(guard) => Ok(Held::Rslock(guard?)),
                Err(_) => bail!("somebody else has it"),
            },
        }
    }

    /// Acquire and release, nobody else being there. How long both took.
    pub(crate) async fn cycle(&self, key: &str) -> Result<Duration> {
        let began = Instant::now();
        self.acquire(key, Duration::from_secs(30)).await?.release().await?;
        Ok(began.elapsed())
    }
}

impl Held {
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
