//! The data of `report.json`.
//!
//! Invariant: a key is renamed or removed only with [`SCHEMA`].
//! Absence: no judgement, and no sentence but the `Display` of a reason or a violation.

mod comparison;
mod origin;
mod run;
mod verdict;

use serde::Serialize;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

pub use comparison::{Change, Comparison, Pair};
pub use origin::Origin;
pub use run::{AuditReport, Latency, LockWait, RowName, RunReport};
pub use verdict::{BrokenPromise, Conclusion, RowVoid, Verdict, VoidReason, Warning};

use crate::scenario::plan::Plan;

/// Raised when a reader of `report.json` would have to change.
pub const SCHEMA: u32 = 2;

/// `report.json`.
#[derive(Debug, Clone, Serialize)]
pub struct Report {
    /// [`SCHEMA`].
    pub schema: u32,
    /// RFC 3339, UTC.
    pub started_at: String,
    /// The machine that the run was made on.
    pub machine: Machine,
    /// Where it comes from.
    pub origin: Origin,
    /// The settings of the run.
    pub settings: Settings,
    /// One entry per row.
    pub runs: Vec<RunReport>,
    /// What the rows mean together.
    pub verdict: Verdict,
    /// Against an earlier report; absent without `--baseline`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub comparison: Option<Comparison>,
}

/// The machine that a run was made on.
#[derive(Debug, Clone, Serialize)]
pub struct Machine {
    /// How many cores this process may use.
    pub cpus: usize,
    /// Name and architecture.
    pub os: String,
}

/// The settings of a run.
#[derive(Debug, Clone, Serialize)]
pub struct Settings {
    /// Lock nodes.
    pub redis_nodes: usize,
    /// Replicas of each service.
    pub replicas: usize,
    /// How long a lock is held at most before it expires.
    pub lease_ms: u128,
    /// How long an order waits for its lock.
    pub wait_ms: u128,
    /// How long the payment between read and write takes.
    pub payment_ms: u128,
    /// Concurrent customers.
    pub users: u64,
    /// Orders per customer.
    pub iterations: u64,
    /// SKUs that customers choose from.
    pub skus: u64,
    /// Exponent of Zipf's law over the SKUs; 0 requests every SKU equally often.
    pub skew: f64,
    /// `closed`: each customer waits for an answer before the next order, so latency under overload looks better than it
    /// is. `open`: orders arrive on a schedule, and latency counts from when an order was due. Or both.
    pub arrivals: String,
    /// Names of the faults that were requested and cannot be injected into this stack.
    pub left_out: Vec<String>,
    /// Repeats the run, as far as a machine can.
    pub seed: u64,
}

impl Report {
    /// The report of `runs`, which may be fewer than were planned.
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
        Self {
            schema: SCHEMA,
            started_at,
            machine: Machine::this(),
            origin: Origin::default(),
            settings,
            runs,
            verdict,
            comparison: None,
        }
    }
}

impl Machine {
    /// This machine.
    pub fn this() -> Self {
        let cpus = std::thread::available_parallelism().map_or(1, usize::from);
        let release = std::fs::read_to_string("/etc/os-release").unwrap_or_default();
        let pretty = release.lines().find_map(|line| line.strip_prefix("PRETTY_NAME="));
        let name = pretty.map_or(std::env::consts::OS, |name| name.trim_matches('"'));
        Self { cpus, os: format!("{name}, {}", std::env::consts::ARCH) }
    }
}
