//! Locks beside their peers, in one run, on real local nodes:
//! `cargo bench -p fenced-lock --bench peers [-- --quick] [-- --json FILE]`.
//!
//! Three runs, the medians of which are output. All subjects meet the same nodes, and where latency is
//! compared their cycles take turns, so that what else the machine does hits all of them alike.
//! No figure comes from a lock's own metrics: a cycle is what a caller waits for, by the caller's clock.

mod alone;
mod contended;
mod figures;
mod floor;
mod goals;
mod idle;
mod many;
mod others;
mod row;
mod subject;
mod workers;

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context as _, Result};
use clap::Parser;
use testbed::RedisNode;

use crate::row::Row;

/// Acquisition and release of a lock, beside the floor (bare `SET NX PX`) and beside other crates.
#[derive(Debug, Parser)]
struct Args {
    /// Also write the rows to this file, as a JSON list.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// One short run of everything: shows that it works, not how fast it is.
    #[arg(long)]
    quick: bool,
    /// Only cases whose name contains this.
    #[arg(long, value_name = "TEXT", default_value = "")]
    case: String,
    /// What a process of its own does for a case; started by the bench itself.
    #[arg(long, hide = true)]
    worker: Option<String>,
    /// Cargo says so whenever it runs a bench.
    #[arg(long, hide = true)]
    bench: bool,
}

/// How much is measured.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Size {
    runs: usize,
    /// Of every subject in a case that takes turns.
    cycles: usize,
    /// Of a case that is measured by the clock.
    duration: Duration,
    /// Of those who wait and do nothing else.
    waiters: usize,
}

impl Size {
    const FULL: Self = Self { runs: 3, cycles: 1_200, duration: Duration::from_secs(10), waiters: 1_000 };
    const QUICK: Self = Self { runs: 1, cycles: 200, duration: Duration::from_secs(1), waiters: 200 };
}

#[tokio::main]
async fn main() -> Result<()> {
    let args = Args::parse();
    if let Some(worker) = &args.worker {
        return workers::run(worker).await;
    }
    let size = if args.quick { Size::QUICK } else { Size::FULL };
    let nodes = testbed::redis_nodes(9).await.context("nine nodes")?;
    let mut rows = Vec::new();
    for run in 1..=size.runs {
        for case in CASES.iter().filter(|case| case.name().contains(&args.case)) {
            eprintln!("run {run} of {}: {}", size.runs, case.name());
            rows.extend(case.measure(&nodes, size).await.with_context(|| case.name())?);
        }
    }
    let rows = row::medians(&rows);
    println!("{}", row::table(&rows));
    for goal in goals::all(&rows) {
        println!("{goal}");
    }
    if let Some(file) = &args.json {
        std::fs::write(file, serde_json::to_string_pretty(&rows)? + "\n").context("the JSON file")?;
    }
    Ok(())
}

const CASES: &[Case] = &[
    Case::Alone(5),
    Case::Alone(1),
    Case::Alone(3),
    Case::Alone(7),
    Case::Alone(9),
    Case::OneStopped,
    Case::DifferentKeys(5),
    Case::DifferentKeys(1),
    Case::DifferentKeys(3),
    Case::DifferentKeys(7),
    Case::DifferentKeys(9),
    Case::OneKey(5),
    Case::OneKey(1),
    Case::OneKey(3),
    Case::OneKey(7),
    Case::OneKey(9),
    Case::Others,
    Case::Idle,
];

#[derive(Clone, Copy, Debug)]
enum Case {
    /// One caller, this many nodes.
    Alone(usize),
    /// One caller, one of five nodes stopped.
    OneStopped,
    /// 32 callers in one process, each with a key of its own.
    DifferentKeys(usize),
    /// 64 callers in 4 processes, one key.
    OneKey(usize),
    /// The same with etcd, ZooKeeper, Postgres and one Redis node.
    Others,
    /// Memory of those who wait.
    Idle,
}

impl Case {
    fn name(self) -> String {
        match self {
            Self::Alone(nodes) => format!("alone, {nodes} nodes"),
            Self::OneStopped => "one node stopped".to_owned(),
            Self::DifferentKeys(nodes) => format!("different keys, {nodes} nodes"),
            Self::OneKey(nodes) => format!("one key, {nodes} nodes"),
            Self::Others => "other backends".to_owned(),
            Self::Idle => "idle waiters".to_owned(),
        }
    }

    async fn measure(self, nodes: &[RedisNode], size: Size) -> Result<Vec<Row>> {
        match self {
            Self::Alone(count) => alone::measure(&nodes[..count], size).await,
            Self::OneStopped => alone::with_one_stopped(&nodes[..5], size).await,
            Self::DifferentKeys(count) => many::measure(&nodes[..count], size).await,
            Self::OneKey(count) => contended::measure(&nodes[..count], size).await,
            Self::Others => others::measure(nodes, size).await,
            Self::Idle => idle::measure(&nodes[..5], size).await,
        }
    }
}
