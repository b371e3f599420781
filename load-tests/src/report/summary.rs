//! The run as a story of four parts: situation, task, action, result. Each has one number, and it is in the report.
//!
//! Invariant: what was not run is said not to have been run; nothing is made up for it.

use contract::Strategy;
use serde::Serialize;

use super::{Report, RunReport};
use crate::faults::Fault;

/// The four parts.
#[derive(Debug, Clone, Serialize, PartialEq, Eq)]
pub(super) struct Summary {
    /// ProtocolMutation a lock.
    pub(super) situation: Part,
    /// What had to be done at the same time.
    pub(super) task: Part,
    /// What stood in the way of a stale write.
    pub(super) action: Part,
    /// What is left of the errors.
    pub(super) result: Part,
}

/// One of them.
#[derive(Debug, Clone, Serialize, PartialEq, Eq)]
pub(super) struct Part {
    /// The number that stands for it; a dash where there is none.
    pub(super) number: String,
    /// What it says.
    pub(super) sentence: String,
}

impl Summary {
    /// From what was measured.
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
            format!("units oversold of {} there were, without a lock and without any fault", off.initial_stock),
        ),
        None => part("–", "it was not run without a lock"),
    }
}

fn task(report: &Report) -> Part {
    let orders: u64 = report.runs.iter().map(|run| run.attempts).sum();
    let replicas = report.settings.replicas;
    part(
        orders,
        format!("orders that read, decide and write in different processes: {replicas} replicas of each service"),
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
            "of the oversold units are gone, with the worst of the strategies that promise none",
        ),
        None => part("–", "there is no row without a lock to compare with"),
    }
}
