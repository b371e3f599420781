//! An earlier `report.json`, beside this one: what became faster, slower, or wrong.
//!
//! Invariant: rows are compared with rows of the same strategy and fault; what has no counterpart is not compared.
//! Absence: no threshold. Two runs on a noisy machine differ, and a reader has to know how much.

use std::path::Path;

use anyhow::{Context as _, bail};
use serde::{Deserialize, Serialize};

use super::{RunReport, SCHEMA};

/// As much of an earlier report as is compared. Names are texts: it may know strategies that are gone.
#[derive(Debug, Clone, Deserialize)]
pub struct Baseline {
    schema: u32,
    started_at: String,
    runs: Vec<EarlierRun>,
}

#[derive(Debug, Clone, Deserialize)]
struct EarlierRun {
    strategy: String,
    fault: String,
    units_oversold: u64,
    orders_per_second: f64,
    latency_ms: EarlierLatency,
}

#[derive(Debug, Clone, Deserialize)]
struct EarlierLatency {
    p50: f64,
    p99: f64,
}

/// What changed.
#[derive(Debug, Clone, Serialize)]
pub struct Comparison {
    /// When the earlier run began.
    pub earlier: String,
    /// Rows that both have.
    pub rows: Vec<Change>,
}

/// One row, then and now.
#[derive(Debug, Clone, Serialize)]
pub struct Change {
    /// Strategy and fault.
    pub row: String,
    /// Units oversold.
    pub oversold: Pair,
    /// Orders per second.
    pub orders_per_second: Pair,
    /// Median latency in milliseconds.
    pub p50_ms: Pair,
    /// The latency that 99 of 100 did not exceed.
    pub p99_ms: Pair,
}

/// One number, then and now.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct Pair {
    /// In the earlier report.
    pub then: f64,
    /// In this one.
    pub now: f64,
}

impl Pair {
    /// How many times as much it is now; `None` where there was nothing.
    pub fn ratio(self) -> Option<f64> {
        (self.then > 0.0).then(|| self.now / self.then)
    }
}

impl std::fmt::Display for Pair {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:.0} → {:.0}", self.then, self.now)?;
        self.ratio().map_or(Ok(()), |ratio| write!(f, " (× {ratio:.2})"))
    }
}

impl Baseline {
    /// Reads an earlier report.
    ///
    /// # Errors
    /// It cannot be read, or is not a report of this schema.
    pub fn read(path: &Path) -> anyhow::Result<Self> {
        let shown = path.display();
        let text = std::fs::read_to_string(path).with_context(|| format!("--baseline: {shown} cannot be read"))?;
        let baseline: Self =
            serde_json::from_str(&text).with_context(|| format!("--baseline: {shown} is not a report.json"))?;
        if baseline.schema != SCHEMA {
            bail!("--baseline: {shown} has schema {}, this program writes {SCHEMA}", baseline.schema);
        }
        Ok(baseline)
    }

    /// Puts both side by side.
    pub fn compare(&self, runs: &[RunReport]) -> Comparison {
        let change = |run: &RunReport| {
            let same =
                |earlier: &&EarlierRun| earlier.strategy == run.strategy.name() && earlier.fault == run.fault.name();
            let earlier = self.runs.iter().find(same)?;
            #[expect(clippy::cast_precision_loss, reason = "units of one experiment")]
            let oversold = Pair { then: earlier.units_oversold as f64, now: run.units_oversold as f64 };
            Some(Change {
                row: format!("{} · {}", run.strategy, run.fault),
                oversold,
                orders_per_second: Pair { then: earlier.orders_per_second, now: run.orders_per_second },
                p50_ms: Pair { then: earlier.latency_ms.p50, now: run.latency_ms.p50 },
                p99_ms: Pair { then: earlier.latency_ms.p99, now: run.latency_ms.p99 },
            })
        };
        Comparison { earlier: self.started_at.clone(), rows: runs.iter().filter_map(change).collect() }
    }
}

impl Change {
    /// As it stands in a table, after the row's name.
    pub fn cells(&self) -> [String; 4] {
        [&self.oversold, &self.orders_per_second, &self.p50_ms, &self.p99_ms].map(ToString::to_string)
    }
}

/// The columns of [`Change::cells`].
pub const COLUMNS: [&str; 4] = ["oversold", "orders/s", "p50 ms", "p99 ms"];
