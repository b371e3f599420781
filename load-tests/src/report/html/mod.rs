//! `index.html`: the report as a page. One file: styles and charts are in it, nothing is fetched, no script is run.
//!
//! Absence: no number is computed here; the words of the verdict are the verdict's.

use std::collections::HashSet;
use std::io;
use std::path::Path;

use contract::Strategy;
use minijinja::Environment;
use minijinja::value::{Serde, Value};
use serde::Serialize;

use super::baseline::Change;
use super::matrix::Matrix;
use super::summary::Summary;
use super::{COLUMNS, Report, RunReport, cells, charts};
use crate::scenario::theory::promises_no_oversell;

/// With more rows than this, charts are drawn for the most telling row of each strategy only.
const CHARTED: usize = 16;

/// Writes it into the folder.
///
/// # Errors
/// The file cannot be written.
pub fn write(report: &Report, folder: &Path) -> io::Result<()> {
    let text = text(report).map_err(io::Error::other)?;
    std::fs::write(folder.join("index.html"), text)
}

/// The whole page.
///
/// # Errors
/// The template asks for what is not there.
pub fn text(report: &Report) -> Result<String, minijinja::Error> {
    let mut templates = Environment::new();
    templates.set_undefined_behavior(minijinja::UndefinedBehavior::Strict);
    templates.add_template("index.html", include_str!("index.html.j2"))?;
    let runs = &report.runs;
    let oversold = |run: &RunReport| float(run.units_oversold);
    let told = charted(runs);
    let page = Page {
        report,
        state: State::of(report),
        headline: report.verdict.headline(),
        sentences: report.verdict.sentences(),
        summary: Summary::of(report),
        columns: COLUMNS,
        rows: runs.iter().map(Row::of).collect(),
        earlier: report.comparison.as_ref().map(|comparison| comparison.earlier.as_str()),
        changes: report.comparison.iter().flat_map(|comparison| &comparison.rows).map(Compared::of).collect(),
        oversold: safe(charts::compared(&told, "units oversold", oversold, "var(--over)")),
        speed: safe(charts::compared(&told, "orders per second", |run| run.orders_per_second, "var(--rate)")),
        heat: Matrix::of(runs).map(|matrix| safe(charts::heat(&matrix))),
        left_out: runs.len() - told.len(),
        cards: told.into_iter().map(Card::of).collect(),
    };
    templates.get_template("index.html")?.render(Value::from(Serde(page)))
}

/// What the template is filled with.
#[derive(Serialize)]
struct Page<'a> {
    report: &'a Report,
    state: State,
    headline: String,
    sentences: Vec<String>,
    summary: Summary,
    columns: [&'static str; COLUMNS.len()],
    rows: Vec<Row>,
    earlier: Option<&'a str>,
    changes: Vec<Compared<'a>>,
    oversold: Value,
    speed: Value,
    heat: Option<Value>,
    left_out: usize,
    cards: Vec<Card<'a>>,
}

/// Decides the colour of the banner.
#[derive(Debug, Clone, Copy, Serialize)]
#[serde(rename_all = "lowercase")]
enum State {
    Passed,
    Broken,
    Void,
}

impl State {
    fn of(report: &Report) -> Self {
        match (report.verdict.broken.is_empty(), report.verdict.valid) {
            (false, _) => Self::Broken,
            (true, true) => Self::Passed,
            (true, false) => Self::Void,
        }
    }
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

/// A row, then and now.
#[derive(Serialize)]
struct Compared<'a> {
    row: &'a str,
    cells: [String; 4],
}

impl<'a> Compared<'a> {
    fn of(change: &'a Change) -> Self {
        Self { row: &change.row, cells: change.cells() }
    }
}

/// A row and its charts.
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

/// All rows, or of each strategy the one that oversold most, then the one that refused most.
fn charted(runs: &[RunReport]) -> Vec<&RunReport> {
    if runs.len() <= CHARTED {
        return runs.iter().collect();
    }
    let mut telling: Vec<&RunReport> = runs.iter().collect();
    telling.sort_by_key(|run| std::cmp::Reverse((run.units_oversold, run.stale_writes_refused)));
    let mut known: HashSet<Strategy> = HashSet::new();
    telling.retain(|run| known.insert(run.strategy));
    telling
}

/// SVG that was made here is not escaped; everything else is.
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
