//! Many callers in one process, each with a key of its own: what the client itself costs.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use testbed::RedisNode;
use tokio::task::JoinSet;

use crate::Size;
use crate::row::Row;
use crate::subject::{Client, Subject};

const CALLERS: usize = 32;

pub(crate) async fn measure(nodes: &[RedisNode], size: Size) -> Result<Vec<Row>> {
    let urls: Vec<_> = nodes.iter().map(RedisNode::url).collect();
    let mut rows = Vec::new();
    for subject in [Subject::Floor, Subject::Ours, Subject::Rslock] {
        let client = subject.connect(&urls).await.context(subject.name())?;
        let until = Instant::now() + size.duration / 2;
        let mut callers = JoinSet::new();
        for number in 0..CALLERS {
            callers.spawn(cycles(client.clone(), format!("many-{}-{number}", subject.name()), until));
        }
        let took = callers.join_all().await.into_iter().collect::<Result<Vec<_>>>().context(subject.name())?;
        rows.push(Row::new("different keys", subject, nodes.len(), CALLERS).with_latencies(&took, size.duration / 2));
    }
    Ok(rows)
}

async fn cycles(client: Client, key: String, until: Instant) -> Result<Vec<Duration>> {
    let mut took = Vec::new();
    while Instant::now() < until {
        took.push(client.cycle(&key).await?);
    }
    Ok(took)
}
