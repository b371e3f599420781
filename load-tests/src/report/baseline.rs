//! An earlier `report.json`, and its comparison with this one.
//!
//! Invariant: a row is compared with the row of the same strategy and fault; a row without a counterpart is left out.
//! Absence: no threshold. Two runs on a noisy machine differ; a reader decides which difference counts.

use std::path::Path;

use anyhow::{Context as _, bail};
use serde::Deserialize;

use super::model::{Change, Comparison, Pair, RunReport, SCHEMA};
use crate::bad_usage::BadUsage;

/// The part of an earlier report that is compared.
#[derive(Debug, Clone, Deserialize)]
pub struct Baseline {
    started_at: String,
    runs: Vec<EarlierRun>,
}

/// Read before anything else: other schemas have other keys.
#[derive(Deserialize)]
struct SchemaOnly {
    schema: u32,
}

/// Names are texts: the earlier report may name strategies that no longer exist.
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

impl Baseline {
    /// Reads an earlier report.
    ///
    /// # Errors
    /// It cannot be read, is not a report, or has another schema.
    pub fn read(path: &Path) -> anyhow::Result<Self> {
        let shown = path.display();
        let text =
            std::fs::read_to_string(path).with_context(|| BadUsage(format!("--baseline: {shown} cannot be read")))?;
        let not_a_report = || BadUsage(format!("--baseline: {shown} is not a report.json"));
        let SchemaOnly { schema } = serde_json::from_str(&text).with_context(not_a_report)?;
        if schema != SCHEMA {
            bail!(BadUsage(format!(
                "--baseline: {shown} has schema {schema}, and this program compares with schema {SCHEMA}; make the \
                 baseline again with this program"
            )));
        }
        serde_json::from_str(&text).with_context(not_a_report)
    }

    /// The rows of both reports beside each other.
    pub fn compare(&self, runs: &[RunReport]) -> Comparison {
        let change = |run: &RunReport| {
            let same =
                |earlier: &&EarlierRun| earlier.strategy == run.strategy.name() && earlier.fault == run.fault.name();
            let earlier = self.runs.iter().find(same)?;
            #[expect(clippy::cast_precision_loss, reason = "units of one experiment")]
            let oversold = Pair { baseline: earlier.units_oversold as f64, current: run.units_oversold as f64 };
            Some(Change {
                row: format!("{} · {}", run.strategy, run.fault),
                oversold,
                orders_per_second: Pair { baseline: earlier.orders_per_second, current: run.orders_per_second },
                p50_ms: Pair { baseline: earlier.latency_ms.p50, current: run.latency_ms.p50 },
                p99_ms: Pair { baseline: earlier.latency_ms.p99, current: run.latency_ms.p99 },
            })
        };
        Comparison { baseline_started_at: self.started_at.clone(), rows: runs.iter().filter_map(change).collect() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_is_no_report_of_this_schema_is_refused_by_name() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("old.json");
        let refused = |text: &str| {
            std::fs::write(&path, text).expect("a file");
            format!("{:#}", Baseline::read(&path).expect_err("no baseline"))
        };
        assert!(refused("{}").contains("old.json is not a report.json"));
        assert!(refused(r#"{"schema": 2, "started_at": ""}"#).contains("old.json is not a report.json"));
        for schema in [1, 9] {
            let error = refused(&format!(r#"{{"schema": {schema}, "verdict": {{}}, "runs": []}}"#));
            assert!(
                error.contains(&format!("old.json has schema {schema}, and this program compares with schema 2")),
                "{error}"
            );
        }
    }
}
