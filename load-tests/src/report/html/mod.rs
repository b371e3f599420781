//! `index.html`: the report as a page. One file with its styles and charts; it fetches nothing and runs no script.
//!
//! Absence: no number is computed here, and the sentences of the verdict come from [`sentences`].

use std::collections::HashSet;
use std::io;
use std::path::Path;

use contract::Strategy;
use minijinja::Environment;
use minijinja::value::{Serde, Value};
use serde::Serialize;

use super::charts;
use super::matrix::Matrix;
use super::model::{Change, Conclusion, Report, RunReport};
use super::sentences::{headline, sentences};
use super::summary::Summary;
use super::table::{COLUMNS, COMPARISON_COLUMNS, cells, comparison_cells};
use crate::scenario::theory::promises_no_oversell;

/// With more rows than this, only the most significant row of each strategy has charts.
const CHARTED: usize = 16;

/// Writes it into the folder.
pub(super) fn write(report: &Report, folder: &Path) -> io::Result<()> {
    let text = text(report).map_err(io::Error::other)?;
    std::fs::write(folder.join("index.html"), text)
}

/// The whole page.
fn text(report: &Report) -> Result<String, minijinja::Error> {
    let mut templates = Environment::new();
    templates.set_undefined_behavior(minijinja::UndefinedBehavior::Strict);
    templates.add_template("index.html", include_str!("index.html.j2"))?;
    let runs = &report.runs;
    let oversold = |run: &RunReport| float(run.units_oversold);
    let charted = charted(runs);
    let page = Page {
        report,
        conclusion: report.verdict.conclusion(),
        headline: headline(report),
        sentences: sentences(report),
        summary: Summary::of(report),
        columns: COLUMNS,
        rows: runs.iter().map(Row::of).collect(),
        baseline_started_at: report.comparison.as_ref().map(|comparison| comparison.baseline_started_at.as_str()),
        comparison_columns: COMPARISON_COLUMNS,
        changes: report.comparison.iter().flat_map(|comparison| &comparison.rows).map(Compared::of).collect(),
        oversold: safe(charts::compared(&charted, "units oversold", oversold, "var(--over)")),
        speed: safe(charts::compared(&charted, "orders per second", |run| run.orders_per_second, "var(--rate)")),
        heat: Matrix::of(runs).map(|matrix| safe(charts::heat(&matrix))),
        without_card: runs.len() - charted.len(),
        cards: charted.into_iter().map(Card::of).collect(),
    };
    templates.get_template("index.html")?.render(Value::from(Serde(page)))
}

/// The values of the template.
#[derive(Serialize)]
struct Page<'a> {
    report: &'a Report,
    /// Decides the colour of the banner, and whether anything is green.
    conclusion: Conclusion,
    headline: String,
    sentences: Vec<String>,
    summary: Summary,
    columns: [&'static str; COLUMNS.len()],
    rows: Vec<Row>,
    baseline_started_at: Option<&'a str>,
    comparison_columns: [&'static str; COMPARISON_COLUMNS.len()],
    changes: Vec<Compared<'a>>,
    oversold: Value,
    speed: Value,
    heat: Option<Value>,
    without_card: usize,
    cards: Vec<Card<'a>>,
}

/// A line of the table.
#[derive(Serialize)]
struct Row {
    cells: [String; COLUMNS.len()],
    oversold: bool,
    broken: bool,
}

impl Row {
    fn of(run: &RunReport) -> Self {
        let broken = promises_no_oversell(run.strategy, run.fault) && (run.units_oversold > 0 || !run.audit.passed);
        Self { cells: cells(run), oversold: run.units_oversold > 0, broken }
    }
}

/// A row of both reports.
#[derive(Serialize)]
struct Compared<'a> {
    row: &'a str,
    cells: [String; COMPARISON_COLUMNS.len()],
}

impl<'a> Compared<'a> {
    fn of(change: &'a Change) -> Self {
        Self { row: &change.row, cells: comparison_cells(change) }
    }
}

/// A row with its charts.
#[derive(Serialize)]
struct Card<'a> {
    run: &'a RunReport,
    name: String,
    promised: bool,
    units: Value,
    rate: Value,
    latency: Value,
}

impl<'a> Card<'a> {
    fn of(run: &'a RunReport) -> Self {
        Self {
            run,
            name: charts::row_name(run),
            promised: promises_no_oversell(run.strategy, run.fault),
            units: safe(charts::units(run)),
            rate: safe(charts::rate(run)),
            latency: safe(charts::latency(run)),
        }
    }
}

/// All rows; of many, one row of each strategy: the one that oversold most or, among equals, refused most.
fn charted(runs: &[RunReport]) -> Vec<&RunReport> {
    if runs.len() <= CHARTED {
        return runs.iter().collect();
    }
    let mut significant: Vec<&RunReport> = runs.iter().collect();
    significant.sort_by_key(|run| std::cmp::Reverse((run.units_oversold, run.stale_writes_refused)));
    let mut known: HashSet<Strategy> = HashSet::new();
    significant.retain(|run| known.insert(run.strategy));
    significant
}

/// The SVG of a chart is not escaped; everything else is.
fn safe(svg: String) -> Value {
    Value::from_safe_string(svg)
}

#[expect(clippy::cast_precision_loss, reason = "units of one experiment, for a drawing")]
fn float(units: u64) -> f64 {
    units as f64
}

#[cfg(test)]
mod browser;
#[cfg(test)]
mod tests;
