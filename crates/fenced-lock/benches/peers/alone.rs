//! One caller: what a cycle of acquire and release costs when nobody else is there.

use std::time::Duration;

use anyhow::{Context as _, Result};
use testbed::RedisNode;

use crate::Size;
use crate::row::Row;
use crate::subject::{Client, Subject, fresh_key};

const SUBJECTS: [Subject; 3] = [Subject::Floor, Subject::Ours, Subject::Rslock];

/// Every order in which three can take turns: each comes equally often after each other one.
const ORDERS: [[usize; 3]; 6] = [[0, 1, 2], [0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]];

/// How often the node is stopped and continued, half of them warm-up for neither side.
const STOPS: usize = 6;

/// A library that waits for a stopped node takes a second for a cycle.
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

/// One who is compared with nobody in turns.
pub(crate) async fn of(subject: Subject, urls: &[String], size: Size) -> Result<Row> {
    let (client, key) = (subject.connect(urls).await?, fresh_key(subject));
    let mut took = Vec::new();
    for _ in 0..size.cycles {
        took.push(client.cycle(&key).await?);
    }
    let during = took.iter().sum();
    Ok(Row::new("alone", subject, urls.len(), 1).with_latencies(&[took], during))
}

/// The same five nodes, one of them stopped and continued in turns: both sides of the comparison
/// see the same machine.
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
        // What it was sent meanwhile is executed before this is answered.
        nodes[0].command(&["PING"]).await.context("a node that goes on")?;
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
