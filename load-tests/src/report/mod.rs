//! What a run found, as data, and the four ways in which it is told. The data is the contract of `report.json`.
//!
//! Absence: nothing is measured or judged here.

pub mod baseline;
mod charts;
pub mod html;
pub mod json;
pub mod markdown;
mod matrix;
pub mod matrix_markdown;
#[cfg(test)]
pub(crate) mod sample;
mod summary;
pub mod terminal;
pub mod timeline;
pub mod verdict;

use std::io;
use std::path::Path;

use contract::Strategy;
use serde::Serialize;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::audit::{Findings, Violation};
use crate::faults::{Fault, FaultEvent};
use crate::report::verdict::Verdict;
use crate::scenario::plan::Plan;
use baseline::{Baseline, Comparison};
use timeline::Timeline;

/// Raised when a reader of `report.json` would have to change.
pub const SCHEMA: u32 = 2;

/// `report.json`.
#[derive(Debug, Clone, Serialize)]
pub struct Report {
    /// [`SCHEMA`].
    pub schema: u32,
    /// RFC 3339.
    pub started_at: String,
    /// Where it ran.
    pub machine: Machine,
    /// What it ran with.
    pub settings: Settings,
    /// One entry a row.
    pub runs: Vec<RunReport>,
    /// What it means.
    pub verdict: Verdict,
    /// Against an earlier report, if one was named.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub comparison: Option<Comparison>,
}

/// Where it ran.
#[derive(Debug, Clone, Serialize)]
pub struct Machine {
    /// How many cores this process may use.
    pub cpus: usize,
    /// Name and architecture.
    pub os: String,
}

/// What it ran with.
#[derive(Debug, Clone, Serialize)]
pub struct Settings {
    /// Lock nodes.
    pub redis_nodes: usize,
    /// Of each service.
    pub replicas: usize,
    /// How long a lock lives.
    pub lease_ms: u128,
    /// How long an order waits for its lock.
    pub wait_ms: u128,
    /// How long the payment repetitions.
    pub payment_ms: u128,
    /// Customers at the same time.
    pub users: u64,
    /// Orders of each.
    pub iterations: u64,
    /// Among how many SKUs they choose.
    pub skus: u64,
    /// Exponent of Zipf's law over the SKUs; 0 asks for each equally often.
    pub skew: f64,
    /// `closed`: customers wait for their answer before they order again, so latency under overload looks better than it
    /// is. `open`: orders come when they come, and latency counts from when they were meant to be sent. Or both.
    pub arrivals: String,
    /// Faults that could not be had here, by name.
    pub left_out: Vec<String>,
    /// Repeats the run, as far as a machine can.
    pub seed: u64,
}

/// One row.
#[derive(Debug, Clone, Serialize)]
pub struct RunReport {
    /// How stock was guarded.
    pub strategy: Strategy,
    /// What went wrong meanwhile.
    pub fault: Fault,
    /// Units there were.
    pub initial_stock: u64,
    /// Orders that were placed.
    pub attempts: u64,
    /// Answered 201.
    pub accepted: u64,
    /// Σ live units.
    pub units_sold: i64,
    /// Σ `available`.
    pub stock_left: i64,
    /// See [`crate::audit::oversold`].
    pub units_oversold: u64,
    /// Breaks in the ledger's chain.
    pub lost_updates: usize,
    /// Answered 409 `out_of_stock`.
    pub sold_out: u64,
    /// Answered 503 `lock_timeout`.
    pub lock_timeouts: u64,
    /// Answered any other 503, or 429.
    pub unavailable: u64,
    /// Stale tokens refused before reading.
    pub stale_claims_refused: usize,
    /// Stale tokens refused at the write.
    pub stale_writes_refused: usize,
    /// The price of a refused write.
    pub payments_voided: usize,
    /// Any other answer, and silence.
    pub unexplained_errors: u64,
    /// Strikes that did what the fault is there for.
    pub faults_fired: usize,
    /// From the first request to the last answer.
    pub duration_seconds: f64,
    /// Orders answered, whatever the answer, per second.
    pub orders_per_second: f64,
    /// From request to answer.
    pub latency_ms: Latency,
    /// From `Server-Timing`.
    pub lock_wait_ms: LockWait,
    /// What the auditor found.
    pub audit: AuditReport,

    /// Orders that were meant to be placed.
    pub attempts_planned: u64,
    /// Among how many SKUs the stock was spread.
    pub skus: usize,
    /// Of which at least all units were sold.
    pub skus_sold_out: usize,
    /// Stale writes refused whose replica had been paused in between, after their claim had succeeded.
    pub paused_writes_refused: usize,
    /// How long the payment between read and write took.
    pub payment_ms: u64,
    /// Answers after which a customer tried again under the same key; none of them is counted among the others.
    pub tried_again: u64,
    /// Of these, 503 and 429.
    pub tried_again_unavailable: u64,
    /// How many times the row was run: again if it was void and broke no promise; only the last time is told.
    pub repetition: u32,
    /// What was still in flight when the audit could wait no longer.
    pub unsettled: Option<String>,
    /// Every strike of the fault.
    pub fault_events: Vec<FaultEvent>,
    /// How it went over time, for charts.
    pub timeline: Timeline,
    /// Requests and answers, beside this file.
    pub history: String,
}

/// Milliseconds.
#[derive(Debug, Clone, Copy, Default, Serialize)]
pub struct Latency {
    /// Median.
    pub p50: f64,
    /// 95 of 100 were not slower.
    pub p95: f64,
    /// 99 of 100 were not slower.
    pub p99: f64,
    /// The slowest.
    pub max: f64,
}

/// Milliseconds.
#[derive(Debug, Clone, Copy, Default, Serialize)]
pub struct LockWait {
    /// Median.
    pub p50: f64,
    /// 99 of 100 did not wait longer.
    pub p99: f64,
}

/// What the auditor found.
#[derive(Debug, Clone, Default, Serialize)]
pub struct AuditReport {
    /// Everything holds, and everything was decided.
    pub passed: bool,
    /// Each begins with the number of the item.
    pub violations: Vec<String>,
    /// What a search gave up on, likewise. It is no violation and no pass.
    pub unknown: Vec<String>,
}

impl AuditReport {
    /// As it is told.
    pub fn of(findings: &Findings) -> Self {
        let told = |all: &[Violation]| all.iter().map(ToString::to_string).collect();
        Self { passed: findings.passed(), violations: told(&findings.violations), unknown: told(&findings.unknown) }
    }
}

impl Report {
    /// Puts together what was found; `runs` may be fewer than were planned.
    pub fn new(plan: &Plan, started_at: OffsetDateTime, runs: Vec<RunReport>, verdict: Verdict) -> Self {
        let settings = Settings {
            redis_nodes: plan.stack_config.redis_nodes,
            replicas: plan.stack_config.replicas,
            lease_ms: plan.stack_config.lease.as_millis(),
            wait_ms: plan.stack_config.wait.as_millis(),
            payment_ms: plan.stack_config.payment.as_millis(),
            users: plan.load.users,
            iterations: plan.load.iterations,
            skus: plan.load.skus,
            skew: plan.load.skew,
            arrivals: plan.arrivals().to_owned(),
            left_out: plan.left_out.iter().map(ToString::to_string).collect(),
            seed: plan.seed,
        };
        let started_at = started_at.format(&Rfc3339).unwrap_or_default();
        Self { schema: SCHEMA, started_at, machine: Machine::this(), settings, runs, verdict, comparison: None }
    }

    /// Beside an earlier one.
    #[must_use]
    pub fn against(mut self, baseline: Option<&Baseline>) -> Self {
        self.comparison = baseline.map(|baseline| baseline.compare(&self.runs));
        self
    }

    /// Writes every file of it into the folder.
    ///
    /// # Errors
    /// A file cannot be written.
    pub fn write(&self, folder: &Path) -> io::Result<()> {
        json::write(self, folder)?;
        markdown::write(self, folder)?;
        html::write(self, folder)
    }
}

impl Machine {
    fn this() -> Self {
        let cpus = std::thread::available_parallelism().map_or(1, usize::from);
        let release = std::fs::read_to_string("/etc/os-release").unwrap_or_default();
        let pretty = release.lines().find_map(|line| line.strip_prefix("PRETTY_NAME="));
        let name = pretty.map_or(std::env::consts::OS, |name| name.trim_matches('"'));
        Self { cpus, os: format!("{name}, {}", std::env::consts::ARCH) }
    }
}

/// The columns of the table, the same wherever it is shown.
pub const COLUMNS: [&str; 14] = [
    "strategy",
    "fault",
    "stock",
    "attempts",
    "accepted",
    "oversold",
    "lost updates",
    "stale writes refused",
    "payments voided",
    "503s",
    "orders/s",
    "p50",
    "p99",
    "audit",
];

/// One row of the table.
pub fn cells(run: &RunReport) -> [String; 14] {
    [
        run.strategy.to_string(),
        run.fault.to_string(),
        run.initial_stock.to_string(),
        run.attempts.to_string(),
        run.accepted.to_string(),
        run.units_oversold.to_string(),
        run.lost_updates.to_string(),
        run.stale_writes_refused.to_string(),
        run.payments_voided.to_string(),
        (run.lock_timeouts + run.unavailable + run.tried_again_unavailable).to_string(),
        format!("{:.0}", run.orders_per_second),
        format!("{:.0} ms", run.latency_ms.p50),
        format!("{:.0} ms", run.latency_ms.p99),
        audit_cell(run),
    ]
}

/// `passed`, or the numbers of the items that were broken or not decided.
fn audit_cell(run: &RunReport) -> String {
    let items = |all: &[String]| {
        let mut items: Vec<&str> = all.iter().filter_map(|one| one.split(':').next()).collect();
        items.dedup();
        items.join(" ")
    };
    match (run.audit.violations.as_slice(), run.audit.unknown.as_slice()) {
        ([], []) => "passed".to_owned(),
        ([], unknown) => format!("unknown: {}", items(unknown)),
        (broken, _) => format!("broken: {}", items(broken)),
    }
}
