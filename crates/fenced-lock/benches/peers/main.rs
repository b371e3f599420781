//! Compares the locks with their floor and with other crates, in one run, on real local nodes:
//! `cargo bench -p fenced-lock --bench peers [-- --quick] [-- --json FILE]`.
//!
//! It reports the medians of three runs. All subjects use the same nodes, and where latency is compared their cycles
//! take turns, so that other load on the machine affects all of them alike.
//! No figure comes from a lock's own metrics: a cycle is what a caller waits for, by the caller's clock.

mod alone;
mod different_keys;
mod figures;
mod floor;
mod goals;
mod idle_waiters;
mod one_key;
mod other_backends;
mod row;
mod settings;
mod subject;
mod worker;
mod workers;

use std::path::PathBuf;

use anyhow::{Context as _, Result};
use clap::Parser;
use testbed::RedisNode;

use crate::row::Row;
use crate::settings::Size;

/// Measures acquiring and releasing a lock, and compares it with the floor (bare `SET NX PX`) and with other crates.
#[derive(Debug, Parser)]
struct Args {
    /// Also write the rows to this file, as a JSON list.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// One short run of every case: shows that the bench works, not how fast the locks are.
    #[arg(long)]
    quick: bool,
    /// Only the cases whose name contains this.
    #[arg(long, value_name = "TEXT", default_value = "")]
    case: String,
    /// Runs as a worker process of a case; the bench starts it.
    #[arg(long, hide = true)]
    worker: Option<String>,
    /// Passed by cargo to every bench.
    #[arg(long, hide = true)]
    bench: bool,
}

#[tokio::main]
async fn main() -> Result<()> {
    let args = Args::parse();
    if let Some(argument) = &args.worker {
        return worker::run(argument).await;
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

/// A case: what is measured, and on how many nodes.
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
    /// These cases with etcd, ZooKeeper, Postgres and one Redis node.
    Others,
    /// The memory of waiting callers.
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
            Self::DifferentKeys(count) => different_keys::measure(&nodes[..count], size).await,
            Self::OneKey(count) => one_key::measure(&nodes[..count], size).await,
            Self::Others => other_backends::measure(nodes, size).await,
            Self::Idle => idle_waiters::measure(&nodes[..5], size).await,
        }
    }
}
