//! One row of the report: a strategy under a fault.

use std::fmt;

use contract::Strategy;
use serde::Serialize;

use crate::audit::{Findings, Undecided, Unsettled, Violation};
use crate::faults::{Fault, FaultEvent};
use crate::report::close_up::CloseUp;
use crate::report::timeline::Timeline;

/// One row.
#[derive(Debug, Clone, Serialize)]
pub struct RunReport {
    /// How stock was guarded.
    pub strategy: Strategy,
    /// The fault that was injected during the sale.
    pub fault: Fault,
    /// Units in stock before the sale.
    pub initial_stock: u64,
    /// Orders that were placed.
    pub attempts: u64,
    /// Orders answered 201.
    pub accepted: u64,
    /// Σ live units after the sale.
    pub units_sold: i64,
    /// Σ `available` after the sale.
    pub stock_left: i64,
    /// Units sold beyond stock, see [`crate::audit::oversold`].
    pub units_oversold: u64,
    /// Breaks in the chain of the ledger.
    pub lost_updates: usize,
    /// Orders answered 409 `out_of_stock`.
    pub sold_out: u64,
    /// Orders answered 503 `lock_timeout`.
    pub lock_timeouts: u64,
    /// Orders answered with another 503.
    pub unavailable: u64,
    /// Orders whose last answer was 429.
    pub overloaded: u64,
    /// Stale tokens refused at the claim.
    pub stale_claims_refused: usize,
    /// Stale tokens refused at the write.
    pub stale_writes_refused: usize,
    /// Payments that were authorised and then voided, as a refused write requires.
    pub payments_voided: usize,
    /// Orders with any other answer, or none.
    pub unexplained_errors: u64,
    /// Injections that took effect.
    pub faults_fired: usize,
    /// From the first request to the last answer.
    pub duration_seconds: f64,
    /// Orders answered per second, with any answer.
    pub orders_per_second: f64,
    /// From request to answer.
    pub latency_ms: Latency,
    /// From `Server-Timing`.
    pub lock_wait_ms: LockWait,
    /// What the audit found.
    pub audit: AuditReport,

    /// Orders that were to be placed.
    pub attempts_planned: u64,
    /// SKUs that the stock was spread over.
    pub skus: usize,
    /// SKUs of which at least the whole stock was sold.
    pub skus_sold_out: usize,
    /// Stale writes refused whose replica was paused after their claim had succeeded.
    pub paused_writes_refused: usize,
    /// How long the payment between read and write took.
    pub payment_ms: u64,
    /// Answers after which a customer retried under the same key; none of them is counted above.
    pub tried_again: u64,
    /// Retries after a 503.
    pub tried_again_unavailable: u64,
    /// Retries after a 429.
    pub tried_again_overloaded: u64,
    /// How many times the row was run, at least 1: a void row that broke no promise is run again, and only the last
    /// repetition is reported.
    pub repetition: u32,
    /// What was in flight when the audit began; absent if nothing was.
    pub unsettled: Option<Unsettled>,
    /// Every injection of the fault.
    pub fault_events: Vec<FaultEvent>,
    /// The row over time, for charts.
    pub timeline: Timeline,
    /// One pause as it happened; absent where no write was paused.
    pub close_up: Option<CloseUp>,
    /// File name of the requests and answers, in the folder of the report.
    pub history: String,
}

/// Latencies in milliseconds.
#[derive(Debug, Clone, Copy, Default, Serialize)]
pub struct Latency {
    /// Median.
    pub p50: f64,
    /// 95th percentile.
    pub p95: f64,
    /// 99th percentile.
    pub p99: f64,
    /// The slowest.
    pub max: f64,
}

/// Waits for a lock in milliseconds.
#[derive(Debug, Clone, Copy, Default, Serialize)]
pub struct LockWait {
    /// Median.
    pub p50: f64,
    /// 99th percentile.
    pub p99: f64,
}

/// What the audit of a row found.
#[derive(Debug, Clone, Default, Serialize)]
pub struct AuditReport {
    /// Every rule was decided, and holds.
    pub passed: bool,
    /// Rules that do not hold.
    pub violations: Vec<Violation>,
    /// Rules that were not decided: neither a violation nor a pass.
    pub undecided: Vec<Undecided>,
}

/// The name of a row in sentences.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RowName {
    /// How stock was guarded.
    pub strategy: Strategy,
    /// The fault that was injected.
    pub fault: Fault,
}

impl RunReport {
    /// The name in sentences.
    pub fn name(&self) -> RowName {
        RowName { strategy: self.strategy, fault: self.fault }
    }
}

impl From<Findings> for AuditReport {
    fn from(findings: Findings) -> Self {
        Self { passed: findings.passed(), violations: findings.violations, undecided: findings.undecided }
    }
}

impl fmt::Display for RowName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.fault {
            Fault::None => write!(f, "{} without a fault", self.strategy),
            fault => write!(f, "{} under {fault}", self.strategy),
        }
    }
}
