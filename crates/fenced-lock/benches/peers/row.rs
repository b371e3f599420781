//! One row of the result, the medians of several runs, and the table.

use std::time::Duration;

use serde::Serialize;

use crate::figures::{as_f64, jain, median, percentile_us};
use crate::subject::Subject;

#[derive(Clone, Debug, Serialize)]
pub(crate) struct Row {
    pub(crate) case: String,
    pub(crate) subject: &'static str,
    pub(crate) nodes: usize,
    pub(crate) callers: usize,
    /// Of a whole cycle; in "one key", of the wait until the lock was granted.
    pub(crate) p50_us: Option<f64>,
    pub(crate) p99_us: Option<f64>,
    pub(crate) cycles_per_second: Option<f64>,
    /// Acquisitions that ended without the lock.
    pub(crate) failed: usize,
    /// Jain's index over the callers' cycles.
    pub(crate) fairness: Option<f64>,
    /// The mean time that the lock was really held. Absent where holding is not part of the case.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) hold_us: Option<f64>,
    /// Absent in all cases but "idle waiters".
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) bytes_per_waiter: Option<f64>,
}

impl Row {
    pub(crate) fn new(case: &str, subject: Subject, nodes: usize, callers: usize) -> Self {
        Self {
            case: case.to_owned(),
            subject: subject.name(),
            nodes,
            callers,
            p50_us: None,
            p99_us: None,
            cycles_per_second: None,
            failed: 0,
            fairness: None,
            hold_us: None,
            bytes_per_waiter: None,
        }
    }

    /// `took` has the cycles, or the waits, of each caller; `during` is the time for the throughput.
    pub(crate) fn with_latencies(mut self, took: &[Vec<Duration>], during: Duration) -> Self {
        let mut all = took.concat();
        all.sort_unstable();
        self.p50_us = percentile_us(&all, 50);
        self.p99_us = percentile_us(&all, 99);
        self.cycles_per_second = Some(as_f64(all.len()) / during.as_secs_f64());
        if took.len() > 1 {
            self.fairness = jain(&took.iter().map(|caller| as_f64(caller.len())).collect::<Vec<_>>());
        }
        self
    }
}

/// One row for each case and subject, with the median of each figure.
pub(crate) fn medians(rows: &[Row]) -> Vec<Row> {
    let same = |a: &Row, b: &Row| (&a.case, a.subject, a.nodes, a.callers) == (&b.case, b.subject, b.nodes, b.callers);
    let first = |(i, row): &(usize, &Row)| !rows[..*i].iter().any(|earlier| same(earlier, row));
    let of_same = |(_, row): (usize, &Row)| {
        let alike: Vec<&Row> = rows.iter().filter(|other| same(row, other)).collect();
        let figure = |pick: fn(&Row) -> Option<f64>| median(alike.iter().filter_map(|row| pick(row)).collect());
        Row {
            p50_us: figure(|row| row.p50_us),
            p99_us: figure(|row| row.p99_us),
            cycles_per_second: figure(|row| row.cycles_per_second),
            // A sum, because a median could hide a failure.
            failed: alike.iter().map(|row| row.failed).sum(),
            fairness: figure(|row| row.fairness),
            hold_us: figure(|row| row.hold_us),
            bytes_per_waiter: figure(|row| row.bytes_per_waiter),
            ..row.clone()
        }
    };
    rows.iter().enumerate().filter(first).map(of_same).collect()
}

/// The table, readable in a terminal and as Markdown.
pub(crate) fn table(rows: &[Row]) -> String {
    let head = "| case | subject | nodes | callers | p50 µs | p99 µs | cycles/s | failed | fairness | bytes/waiter |\n\
                |---|---|---:|---:|---:|---:|---:|---:|---:|---:|\n";
    let number =
        |value: Option<f64>, digits: usize| value.map_or("–".to_owned(), |value| format!("{value:.digits$}"));
    let line = |row: &Row| {
        format!(
            "| {:<16} | {:<17} | {:>5} | {:>7} | {:>9} | {:>9} | {:>8} | {:>6} | {:>8} | {:>12} |\n",
            row.case,
            row.subject,
            row.nodes,
            row.callers,
            number(row.p50_us, 0),
            number(row.p99_us, 0),
            number(row.cycles_per_second, 0),
            row.failed,
            number(row.fairness, 3),
            number(row.bytes_per_waiter, 0),
        )
    };
    head.to_owned() + &rows.iter().map(line).collect::<String>()
}
