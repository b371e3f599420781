//! `report.md`: the verdict, the table, and the findings, for a pull request or a wiki.

use std::fmt::Write as _;
use std::io;
use std::path::Path;

use super::model::{Report, RunReport};
use super::sentences::sentences;
use super::table::{COLUMNS, COMPARISON_COLUMNS, cells, comparison_cells};

/// Writes it into the folder.
pub(super) fn write(report: &Report, folder: &Path) -> io::Result<()> {
    std::fs::write(folder.join("report.md"), text(report))
}

/// The whole document.
pub(super) fn text(report: &Report) -> String {
    let mut text = String::from("# Does it oversell?\n\n");
    for sentence in sentences(report) {
        text += &format!("**{sentence}**\n\n");
    }
    text += &format!("| {} |\n|{}\n", COLUMNS.join(" | "), "---|".repeat(COLUMNS.len()));
    for run in &report.runs {
        text += &format!("| {} |\n", cells(run).join(" | "));
    }
    text += "\nOversold units are the maximum over every prefix of the ledger. A sold-out answer is a success of the \
             system. Orders/s counts every answered order; p50 and p99 are from request to answer.\n";
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
        let _ =
            writeln!(text, "\nLeft out, because this stack does not allow their injection: {}.", s.left_out.join(", "));
    }
    text += &comparison(report);
    for run in &report.runs {
        text += &details(run);
    }
    text
}

fn comparison(report: &Report) -> String {
    let Some(comparison) = &report.comparison else { return String::new() };
    let mut text = format!("\n## Compared with the run of {}\n\n", comparison.baseline_started_at);
    let columns = COMPARISON_COLUMNS;
    text += &format!("| row | {} |\n|---|{}\n", columns.join(" | "), "---|".repeat(columns.len()));
    for change in &comparison.rows {
        text += &format!("| {} | {} |\n", change.row, comparison_cells(change).join(" | "));
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
        let _ = writeln!(text, "- audit, item {}: {violation}", violation.item());
    }
    for undecided in &run.audit.undecided {
        let _ = writeln!(text, "- audit, item {} undecided: {undecided}", undecided.item());
    }
    for event in &run.fault_events {
        let (replica, sku, outcome) = (&event.replica, &event.sku, &event.outcome);
        let counted = if event.fired { "" } else { " (not counted)" };
        let _ = writeln!(
            text,
            "- {replica}, {} to {} ms{}: {outcome}{counted}",
            event.from_ms,
            event.to_ms,
            if sku.is_empty() { String::new() } else { format!(", sale of {sku}") },
        );
    }
    text
}

#[cfg(test)]
mod tests {
    use crate::report::baseline::Baseline;
    use crate::report::{json, sample};

    #[test]
    fn the_document_of_the_sample() {
        insta::assert_snapshot!(super::text(&sample::report()));
    }

    #[test]
    fn a_comparison_with_an_earlier_report() {
        let folder = tempfile::tempdir().expect("a folder");
        let mut earlier = sample::report();
        earlier.runs.truncate(2);
        earlier.runs[0].orders_per_second = 25.0;
        json::write(&earlier, folder.path()).expect("report.json");
        let baseline = Baseline::read(&folder.path().join("report.json")).expect("a baseline");
        let mut report = sample::report();
        report.comparison = Some(baseline.compare(&report.runs));
        insta::assert_snapshot!(super::comparison(&report));
    }
}
