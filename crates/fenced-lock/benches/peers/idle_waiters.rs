//! The memory of one waiting caller: of a worker process that does nothing but wait, as the system reports it.

use std::time::Duration;

use anyhow::{Context as _, Result};
use testbed::RedisNode;
use tokio::task::JoinSet;

use crate::figures::as_f64;
use crate::row::Row;
use crate::settings::Size;
use crate::subject::{Client, LOCKS};
use crate::workers::{Task, WorkerSpec, Workers};

/// Longer than the case takes.
const WAIT: Duration = Duration::from_mins(10);

/// Time for subjects that poll to have polled.
const SETTLE: Duration = Duration::from_secs(2);

pub(crate) async fn measure(nodes: &[RedisNode], size: Size) -> Result<Vec<Row>> {
    let urls: Vec<_> = nodes.iter().map(RedisNode::url).collect();
    let mut rows = Vec::new();
    for subject in LOCKS {
        let spec = WorkerSpec { subject, urls: urls.clone(), task: Task::Idle { waiters: size.waiters } };
        let mut workers = Workers::start(&[spec]).await.context(subject.name())?;
        let bytes: Vec<f64> = workers.run().await.context(subject.name())?;
        let row = Row::new("idle waiters", subject, nodes.len(), size.waiters);
        rows.push(Row { bytes_per_waiter: bytes.first().copied(), ..row });
    }
    Ok(rows)
}

/// The part of the worker process. Returns bytes per waiter.
pub(crate) async fn measure_memory(client: Client, waiters: usize) -> Result<f64> {
    let held = client.acquire("idle", WAIT).await?;
    let before = resident().await?;
    let mut waiting = JoinSet::new();
    for _ in 0..waiters {
        let client = client.clone();
        waiting.spawn(async move { client.acquire("idle", WAIT).await.map(drop) });
    }
    tokio::time::sleep(SETTLE).await;
    let after = resident().await?;
    waiting.shutdown().await;
    held.release().await?;
    Ok(as_f64(after.saturating_sub(before)) / as_f64(waiters))
}

/// Resident memory of this process in bytes, by `ps`, which works on Linux and macOS.
async fn resident() -> Result<usize> {
    let pid = std::process::id().to_string();
    let output = tokio::process::Command::new("ps").args(["-o", "rss=", "-p", &pid]).output().await.context("ps")?;
    let kibibytes: usize = String::from_utf8_lossy(&output.stdout).trim().parse().context("a number from ps")?;
    Ok(kibibytes * 1024)
}
