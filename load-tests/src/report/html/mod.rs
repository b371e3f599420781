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
use strum::VariantArray as _;

use super::matrix::Matrix;
use super::model::{Change, Conclusion, Report, RunReport};
use super::sentences::{finding, headline};
use super::summary::Summary;
use super::table::{COLUMNS, COMPARISON_COLUMNS, cells, comparison_cells};
use super::{charts, close_up, hero, sentences};
use crate::audit::Item;
use crate::scenario::theory::promises_no_oversell;

/// With more rows than this, only the most significant row of each strategy has charts.
const CHARTED: usize = 16;

/// Every page of a report has it inside.
const STYLE: &str = include_str!("style.css");

/// Writes it into the folder.
pub(super) fn write(report: &Report, folder: &Path) -> io::Result<()> {
    let (text, charts) = text(report).map_err(io::Error::other)?;
    let of_charts = folder.join("charts");
    std::fs::create_dir_all(&of_charts)?;
    for (name, svg) in charts {
        std::fs::write(of_charts.join(format!("{name}.svg")), standalone(&svg))?;
    }
    std::fs::write(folder.join("index.html"), text)
}

/// A chart as a file of its own: with the colours that it takes from the page, and the size at which it is drawn there.
fn standalone(svg: &str) -> String {
    let colours = STYLE.split_once("* { box-sizing").map(|(colours, _)| colours.trim()).unwrap_or_default();
    let style =
        format!("<style>{colours} svg {{ background: var(--card); font-family: system-ui, sans-serif; }}</style>");
    svg.replacen('>', &format!(">{style}"), 1)
}

/// The charts of a page, each by the name of its file.
type Charts = Vec<(String, String)>;

/// The whole page, and its charts.
fn text(report: &Report) -> Result<(String, Charts), minijinja::Error> {
    let mut charts_of_page = Charts::new();
    let mut chart = |name: &str, svg: String| {
        charts_of_page.push((name.to_owned(), svg.clone()));
        // The SVG of a chart is not escaped; everything else is.
        Value::from_safe_string(svg)
    };
    let runs = &report.runs;
    let matrix = Matrix::of(runs);
    let charted = charted(runs);
    let page = Page {
        report,
        conclusion: report.verdict.conclusion(),
        headline: headline(report),
        sentences: sentences::sentences(report),
        summary: Summary::of(report),
        columns: COLUMNS,
        rows: runs.iter().map(Row::of).collect(),
        baseline_started_at: report.comparison.as_ref().map(|comparison| comparison.baseline_started_at.as_str()),
        comparison_columns: COMPARISON_COLUMNS,
        changes: report.comparison.iter().flat_map(|comparison| &comparison.rows).map(Compared::of).collect(),
        sold: chart("units-sold", hero::units_sold(&charted)),
        finding: finding(runs),
        speed: chart(
            "orders-per-second",
            charts::compared(&charted, "orders per second", |run| run.orders_per_second, "var(--rate)"),
        ),
        heat: matrix.as_ref().map(|matrix| chart("strategies-and-faults", charts::heat(matrix))),
        heat_finding: matrix.as_ref().map(Matrix::finding),
        rules: Item::VARIANTS.iter().map(|item| Rule::of(*item, runs)).collect(),
        without_card: runs.len() - charted.len(),
        cards: charted.into_iter().map(|run| Card::of(run, &mut chart)).collect(),
    };
    Ok((render(include_str!("index.html.j2"), page)?, charts_of_page))
}

/// A page from its template, with the style of every page of a report.
pub(super) fn render(template: &'static str, page: impl Serialize) -> Result<String, minijinja::Error> {
    let mut templates = Environment::new();
    templates.set_undefined_behavior(minijinja::UndefinedBehavior::Strict);
    templates.add_template("style.css", STYLE)?;
    templates.add_template("page.html", template)?;
    templates.get_template("page.html")?.render(Value::from(Serde(page)))
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
    sold: Value,
    /// The title of the first chart.
    finding: String,
    speed: Value,
    heat: Option<Value>,
    heat_finding: Option<String>,
    rules: Vec<Rule>,
    without_card: usize,
    cards: Vec<Card<'a>>,
}

/// A rule of the auditor, and the rows that broke it.
#[derive(Serialize)]
struct Rule {
    number: u8,
    text: &'static str,
    broken_by: Vec<String>,
}

impl Rule {
    fn of(item: Item, runs: &[RunReport]) -> Self {
        let broken = |run: &&RunReport| run.audit.violations.iter().any(|violation| violation.item() == item);
        let broken_by = runs.iter().filter(broken).map(charts::row_name).collect();
        Self { number: item.number(), text: item.rule(), broken_by }
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
    /// What the row shows.
    title: String,
    promised: bool,
    units: Value,
    rate: Value,
    latency_over_time: Value,
    latency: Value,
    close_up: Option<Value>,
}

impl<'a> Card<'a> {
    fn of(run: &'a RunReport, chart: &mut impl FnMut(&str, String) -> Value) -> Self {
        let mut chart = |kind: &str, svg| chart(&format!("{}-{}-{kind}", run.strategy, run.fault), svg);
        Self {
            run,
            title: sentences::row(run),
            promised: promises_no_oversell(run.strategy, run.fault),
            units: chart("units", charts::units(run)),
            rate: chart("orders-per-second", charts::rate(run)),
            latency_over_time: chart("latency-over-time", charts::latency_over_time(run)),
            latency: chart("latency", charts::latency(run)),
            close_up: run.close_up.as_ref().map(|close_up| chart("close-up", close_up::lanes(close_up))),
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

#[cfg(test)]
mod browser;
#[cfg(test)]
mod tests;
