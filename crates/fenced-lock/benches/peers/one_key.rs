//! Many callers in several processes, one key: how long they wait, and whether every caller gets its turn.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use serde::{Deserialize, Serialize};
use testbed::RedisNode;
use tokio::task::JoinSet;

use crate::figures::{mean, micros};
use crate::row::Row;
use crate::settings::Size;
use crate::subject::{Client, LOCKS, Subject};
use crate::workers::{Task, WorkerSpec, Workers};

const PROCESSES: usize = 4;
const CALLERS: usize = 16;
const HOLD: Duration = Duration::from_millis(1);
const WAIT: Duration = Duration::from_secs(30);

/// What one caller measured.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct CallerReport {
    /// From the request to the grant, of the cycles that ended in time.
    waits: Vec<Duration>,
    holds: Vec<Duration>,
    failed: usize,
}

pub(crate) async fn measure(nodes: &[RedisNode], size: Size) -> Result<Vec<Row>> {
    let urls: Vec<_> = nodes.iter().map(RedisNode::url).collect();
    let mut rows = Vec::new();
    for subject in LOCKS {
        rows.push(of(subject, &urls, size).await.context(subject.name())?);
    }
    Ok(rows)
}

pub(crate) async fn of(subject: Subject, urls: &[String], size: Size) -> Result<Row> {
    let spec = WorkerSpec { subject, urls: urls.to_vec(), task: Task::Contend { during: size.duration } };
    let mut workers = Workers::start(&vec![spec; PROCESSES]).await?;
    let reports: Vec<Vec<CallerReport>> = workers.run().await?;
    let reports: Vec<CallerReport> = reports.into_iter().flatten().collect();
    let waits: Vec<_> = reports.iter().map(|caller| caller.waits.clone()).collect();
    let holds: Vec<_> = reports.iter().flat_map(|caller| caller.holds.clone()).collect();
    let row = Row::new("one key", subject, urls.len(), PROCESSES * CALLERS);
    Ok(Row {
        failed: reports.iter().map(|caller| caller.failed).sum(),
        hold_us: mean(&holds).map(micros),
        ..row.with_latencies(&waits, size.duration)
    })
}

/// The part of one worker process.
pub(crate) async fn contend(client: Client, during: Duration) -> Result<Vec<CallerReport>> {
    let until = Instant::now() + during;
    let mut callers = JoinSet::new();
    for _ in 0..CALLERS {
        callers.spawn(turns(client.clone(), until));
    }
    callers.join_all().await.into_iter().collect()
}

/// A caller that still waits when the time is up keeps waiting, so that starvation shows as a failure. Only
/// cycles that ended in time are counted.
async fn turns(client: Client, until: Instant) -> Result<CallerReport> {
    let mut report = CallerReport::default();
    while Instant::now() < until {
        let requested = Instant::now();
        let Ok(held) = client.acquire("one-key", WAIT).await else {
            report.failed += 1;
            continue;
        };
        let granted = Instant::now();
        tokio::time::sleep(HOLD).await;
        let kept = granted.elapsed();
        held.release().await?;
        if Instant::now() < until {
            report.waits.push(granted - requested);
            report.holds.push(kept);
        }
    }
    Ok(report)
}
