//! Many callers in several processes, one key: who waits for how long, and does everybody get a turn?

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use serde::{Deserialize, Serialize};
use testbed::RedisNode;
use tokio::task::JoinSet;

use crate::Size;
use crate::figures::{mean, micros};
use crate::row::Row;
use crate::subject::{Client, LOCKS, Subject};
use crate::workers::{Task, WorkerSpec, Workers};

const PROCESSES: usize = 4;
const CALLERS: usize = 16;
const HOLD: Duration = Duration::from_millis(1);
const WAIT: Duration = Duration::from_secs(30);

/// What one caller saw.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct CallerReport {
    /// From asking to being granted, of the cycles that ended in time.
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
    let worker = WorkerSpec { subject, urls: urls.to_vec(), task: Task::Contend { during: size.duration } };
    let mut workers = Workers::start(&vec![worker; PROCESSES]).await?;
    let reports: Vec<Vec<CallerReport>> = workers.work().await?;
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

/// One process's part.
pub(crate) async fn contend(client: Client, during: Duration) -> Result<Vec<CallerReport>> {
    let until = Instant::now() + during;
    let mut callers = JoinSet::new();
    for _ in 0..CALLERS {
        callers.spawn(turns(client.clone(), until));
    }
    callers.join_all().await.into_iter().collect()
}

/// Whoever waits when the time is up goes on waiting: being starved must show as a failure. Only
/// cycles that ended in time are counted.
async fn turns(client: Client, until: Instant) -> Result<CallerReport> {
    let mut reports = CallerReport::default();
    while Instant::now() < until {
        let asked = Instant::now();
        let Ok(held) = client.acquire("one-key", WAIT).await else {
            reports.failed += 1;
            continue;
        };
        let granted = Instant::now();
        tokio::time::sleep(HOLD).await;
        let kept = granted.elapsed();
        held.release().await?;
        if Instant::now() < until {
            reports.waits.push(granted - asked);
            reports.holds.push(kept);
        }
    }
    Ok(reports)
}
