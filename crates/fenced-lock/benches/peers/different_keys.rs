//! Many callers in one process, each with a key of its own: the cost of the client itself.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use testbed::RedisNode;
use tokio::task::JoinSet;

use crate::row::Row;
use crate::settings::Size;
use crate::subject::{Client, Subject, fresh_key};

const CALLERS: usize = 32;

pub(crate) async fn measure(nodes: &[RedisNode], size: Size) -> Result<Vec<Row>> {
    let urls: Vec<_> = nodes.iter().map(RedisNode::url).collect();
    let mut rows = Vec::new();
    for subject in [Subject::Floor, Subject::Ours, Subject::Rslock] {
        rows.push(of(subject, &urls, size).await.context(subject.name())?);
    }
    Ok(rows)
}

pub(crate) async fn of(subject: Subject, urls: &[String], size: Size) -> Result<Row> {
    let client = subject.connect(urls).await?;
    let during = size.duration / 2;
    let until = Instant::now() + during;
    let mut callers = JoinSet::new();
    for _ in 0..CALLERS {
        callers.spawn(cycles(client.clone(), fresh_key(subject), until));
    }
    let took = callers.join_all().await.into_iter().collect::<Result<Vec<_>>>()?;
    Ok(Row::new("different keys", subject, urls.len(), CALLERS).with_latencies(&took, during))
}

async fn cycles(client: Client, key: String, until: Instant) -> Result<Vec<Duration>> {
    let mut took = Vec::new();
    while Instant::now() < until {
        took.push(client.cycle(&key).await?);
    }
    Ok(took)
}
