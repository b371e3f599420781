//! The rows of a report beside those of an earlier one.

use std::fmt;

use serde::Serialize;

/// The rows that two reports have in common.
#[derive(Debug, Clone, Serialize)]
pub struct Comparison {
    /// When the earlier run began, RFC 3339.
    pub baseline_started_at: String,
    /// One entry per row that both reports have.
    pub rows: Vec<Change>,
}

/// One row in both reports.
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
    /// 99th percentile of the latency in milliseconds.
    pub p99_ms: Pair,
}

/// One number in both reports.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct Pair {
    /// In the earlier report.
    pub baseline: f64,
    /// In this report.
    pub current: f64,
}

impl Pair {
    /// current ÷ baseline; `None` if the baseline is 0.
    pub fn ratio(self) -> Option<f64> {
        (self.baseline > 0.0).then(|| self.current / self.baseline)
    }
}

impl fmt::Display for Pair {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:.0} → {:.0}", self.baseline, self.current)?;
        self.ratio().map_or(Ok(()), |ratio| write!(f, " (× {ratio:.2})"))
    }
}
