//! The run in four parts: situation, task, action, result. Each has one number, which is in the report.
//!
//! Invariant: a part that was not run says so.

use contract::Strategy;
use serde::Serialize;

use super::model::{Report, RunReport};
use crate::faults::Fault;

/// The four parts.
#[derive(Debug, Clone, Serialize, PartialEq, Eq)]
pub(super) struct Summary {
    /// What happens without a lock.
    pub(super) situation: Part,
    /// How many orders were placed concurrently.
    pub(super) task: Part,
    /// How many stale writes were refused.
    pub(super) action: Part,
    /// By how much errors were reduced.
    pub(super) result: Part,
}

/// One part.
#[derive(Debug, Clone, Serialize, PartialEq, Eq)]
pub(super) struct Part {
    /// Its number; a dash where it was not run.
    pub(super) number: String,
    /// What the number counts.
    pub(super) sentence: String,
}

impl Summary {
    /// The summary of a report.
    pub(super) fn of(report: &Report) -> Self {
        Self { situation: situation(&report.runs), task: task(report), action: action(report), result: result(report) }
    }
}

fn part(number: impl ToString, sentence: impl Into<String>) -> Part {
    Part { number: number.to_string(), sentence: sentence.into() }
}

fn situation(runs: &[RunReport]) -> Part {
    let off = runs.iter().find(|run| run.strategy == Strategy::Off && run.fault == Fault::None);
    match off {
        Some(off) => part(
            off.units_oversold,
            format!("units oversold of {} in stock, without a lock and without a fault", off.initial_stock),
        ),
        None => part("–", "no row without a lock was run"),
    }
}

fn task(report: &Report) -> Part {
    let orders: u64 = report.runs.iter().map(|run| run.attempts).sum();
    let replicas = report.settings.replicas;
    part(
        orders,
        format!("orders that read, decide and write in different processes, on {replicas} replicas of each service"),
    )
}

fn action(report: &Report) -> Part {
    let claiming = || report.runs.iter().filter(|run| run.strategy.claims());
    let refused: usize = claiming().map(|run| run.stale_writes_refused).sum();
    let nodes = report.settings.redis_nodes;
    if claiming().next().is_none() {
        return part("–", "no strategy with a claimed fencing token was run");
    }
    part(refused, format!("stale writes refused by their fencing token; the lock is a quorum of {nodes} nodes"))
}

fn result(report: &Report) -> Part {
    match report.verdict.error_reduction_percent {
        Some(percent) => part(
            format!("{percent} %"),
            "fewer oversold units, by the worst of the strategies that promise never to oversell",
        ),
        None => part("–", "no row without a lock was run to compare with"),
    }
}
