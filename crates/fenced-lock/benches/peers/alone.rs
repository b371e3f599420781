//! One caller: the cost of an acquire and a release without contention.

use std::time::Duration;

use anyhow::{Context as _, Result};
use testbed::RedisNode;

use crate::row::Row;
use crate::settings::Size;
use crate::subject::{Client, Subject, fresh_key};

const SUBJECTS: [Subject; 3] = [Subject::Floor, Subject::Ours, Subject::Rslock];

/// Every order of three subjects: each subject follows each other one equally often.
const ORDERS: [[usize; 3]; 6] = [[0, 1, 2], [0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]];

/// How often the node is stopped and resumed.
const STOPS: usize = 6;

/// Fewer cycles for a library that waits for the stopped node: each of them takes a second.
const SLOW_SUBJECT_CYCLES: usize = 2;

pub(crate) async fn measure(nodes: &[RedisNode], size: Size) -> Result<Vec<Row>> {
    let clients = clients(nodes).await?;
    let mut took = [const { Vec::new() }; 3];
    for turn in 0..size.cycles {
        for subject in ORDERS[turn % ORDERS.len()] {
            took[subject].push(cycle(&clients, subject).await?);
        }
    }
    Ok(rows("alone", nodes.len(), took))
}

/// One subject, without turns.
pub(crate) async fn of(subject: Subject, urls: &[String], size: Size) -> Result<Row> {
    let (client, key) = (subject.connect(urls).await?, fresh_key(subject));
    let mut took = Vec::new();
    for _ in 0..size.cycles {
        took.push(client.cycle(&key).await?);
    }
    let during = took.iter().sum();
    Ok(Row::new("alone", subject, urls.len(), 1).with_latencies(&[took], during))
}

/// The same five nodes, one of them stopped and resumed several times, so that both rows are measured under the
/// same load of the machine.
pub(crate) async fn with_one_stopped(nodes: &[RedisNode], size: Size) -> Result<Vec<Row>> {
    let clients = clients(nodes).await?;
    let (mut healthy, mut stopped) = ([const { Vec::new() }; 3], [const { Vec::new() }; 3]);
    for _ in 0..STOPS {
        for turn in 0..size.cycles / STOPS {
            for subject in ORDERS[turn % ORDERS.len()] {
                healthy[subject].push(cycle(&clients, subject).await?);
            }
        }
        nodes[0].pause();
        for turn in 0..size.cycles / STOPS {
            for subject in ORDERS[turn % ORDERS.len()] {
                if subject != 2 || turn < SLOW_SUBJECT_CYCLES {
                    stopped[subject].push(cycle(&clients, subject).await?);
                }
            }
        }
        nodes[0].resume();
        // The node executes what it received during the stop before it answers this.
        nodes[0].command(&["PING"]).await.context("a node that answers after it was resumed")?;
    }
    let mut rows = rows("none stopped", nodes.len(), healthy);
    rows.extend(self::rows("one node stopped", nodes.len(), stopped));
    Ok(rows)
}

async fn clients(nodes: &[RedisNode]) -> Result<Vec<(Client, String)>> {
    let urls: Vec<_> = nodes.iter().map(RedisNode::url).collect();
    let mut clients = Vec::new();
    for subject in SUBJECTS {
        let client = subject.connect(&urls).await.with_context(|| subject.name())?;
        clients.push((client, fresh_key(subject)));
    }
    Ok(clients)
}

async fn cycle(clients: &[(Client, String)], subject: usize) -> Result<Duration> {
    let (client, key) = &clients[subject];
    client.cycle(key).await.with_context(|| SUBJECTS[subject].name())
}

fn rows(case: &str, nodes: usize, took: [Vec<Duration>; 3]) -> Vec<Row> {
    let row = |(subject, took): (Subject, Vec<Duration>)| {
        let during = took.iter().sum();
        Row::new(case, subject, nodes, 1).with_latencies(&[took], during)
    };
    SUBJECTS.into_iter().zip(took).map(row).collect()
}
