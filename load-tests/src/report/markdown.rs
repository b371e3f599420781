//! `report.md`: the verdict, the table, and what was found, for a pull request or a wiki.

use std::fmt::Write as _;
use std::io;
use std::path::Path;

use super::{COLUMNS, Report, RunReport, baseline, cells};

/// Writes it into the folder.
///
/// # Errors
/// The file cannot be written.
pub fn write(report: &Report, folder: &Path) -> io::Result<()> {
    std::fs::write(folder.join("report.md"), text(report))
}

/// The whole document.
pub fn text(report: &Report) -> String {
    let mut text = String::from("# Does it oversell?\n\n");
    for sentence in report.verdict.sentences() {
        text += &format!("**{sentence}**\n\n");
    }
    text += &format!("| {} |\n|{}\n", COLUMNS.join(" | "), "---|".repeat(COLUMNS.len()));
    for run in &report.runs {
        text += &format!("| {} |\n", cells(run).join(" | "));
    }
    text += "\nOversold units are counted in the ledger, over every prefix of it. A sold-out answer is a success of the \
             system. Orders/s counts every order that was answered, p50 and p99 are from request to answer.\n";
    let (s, m) = (&report.settings, &report.machine);
    let _ = write!(
        text,
        "\nStarted {} on {} ({} cores), seed {}. {} lock nodes, {} replicas of each service; lease {} ms, wait {} ms, \
         payment {} ms between read and write. {} customers × {} orders over {} SKUs (skew {}). Arrivals: {}.\n",
        report.started_at,
        m.os,
        m.cpus,
        s.seed,
        s.redis_nodes,
        s.replicas,
        s.lease_ms,
        s.wait_ms,
        s.payment_ms,
        s.users,
        s.iterations,
        s.skus,
        s.skew,
        s.arrivals,
    );
    if !s.left_out.is_empty() {
        let _ = writeln!(text, "\nLeft out, because they cannot be had here: {}.", s.left_out.join(", "));
    }
    text += &compared(report);
    for run in &report.runs {
        text += &details(run);
    }
    text
}

fn compared(report: &Report) -> String {
    let Some(comparison) = &report.comparison else { return String::new() };
    let mut text = format!("\n## Against the run of {}\n\n", comparison.earlier);
    let columns = baseline::COLUMNS;
    text += &format!("| row | {} |\n|---|{}\n", columns.join(" | "), "---|".repeat(columns.len()));
    for change in &comparison.rows {
        text += &format!("| {} | {} |\n", change.row, change.cells().join(" | "));
    }
    text
}

fn details(run: &RunReport) -> String {
    let mut text = String::new();
    if run.audit.passed && run.fault_events.is_empty() {
        return text;
    }
    let _ = write!(text, "\n## {} / {}\n\n", run.strategy, run.fault);
    for violation in &run.audit.violations {
        let _ = writeln!(text, "- audit, item {violation}");
    }
    for unknown in &run.audit.unknown {
        let _ = writeln!(text, "- audit, not decided, item {unknown}");
    }
    for injection in &run.fault_events {
        let (replica, sku, outcome) = (&injection.replica, &injection.sku, &injection.outcome);
        let counted = if injection.fired { "" } else { " (not counted)" };
        let _ = writeln!(
            text,
            "- {replica} from {} ms to {} ms{}: {outcome}{counted}",
            injection.from_ms,
            injection.to_ms,
            if sku.is_empty() { String::new() } else { format!(" in the sale of {sku}") },
        );
    }
    text
}
