//! `matrix.md`: every strategy under every fault, theory beside the result.
//!
//! Absence: nothing is judged here; `verdict` judges by the same theory.

use std::fmt::Write as _;
use std::io;
use std::path::Path;
use std::time::Duration;

use contract::Strategy;

use super::matrix::Matrix;
use super::model::{Report, RunReport};
use crate::faults::Fault;
use crate::scenario::theory::Theory;

/// Writes it into the folder, if the run has at least two strategies and two faults.
pub(super) fn write(report: &Report, folder: &Path) -> io::Result<()> {
    match Matrix::of(&report.runs) {
        Some(matrix) => std::fs::write(folder.join("matrix.md"), text(report, &matrix)),
        None => Ok(()),
    }
}

/// The whole document.
fn text(report: &Report, Matrix { strategies, faults, .. }: &Matrix) -> String {
    let stock = report.runs.first().map_or(0, |run| run.initial_stock);
    let mut text = String::from("# Units oversold, every strategy under every fault\n\n");
    let _ = writeln!(
        text,
        "Of {stock} units in each cell. `never`: the strategy must not oversell. `must`: theory predicts that it oversells, \
         and a run without it is void. `may`: it promises nothing here.\n"
    );
    let names: Vec<_> = strategies.iter().map(|strategy| format!("`{strategy}`")).collect();
    let _ = writeln!(text, "| fault (fired) | {} |", names.join(" | "));
    let _ = writeln!(text, "|---|{}", "---|".repeat(strategies.len()));
    for &fault in faults {
        let fired = report.runs.iter().filter(|run| run.fault == fault).map(|run| run.faults_fired).max().unwrap_or(0);
        let cells: Vec<_> = strategies.iter().map(|&strategy| cell(report, strategy, fault)).collect();
        let fired = if fault == Fault::None { String::new() } else { format!(" ({fired})") };
        let _ = writeln!(text, "| {fault}{fired} | {} |", cells.join(" | "));
    }
    text += "\n## Expected, and why\n\n";
    for &fault in faults {
        let _ = writeln!(text, "- **{fault}**: {}", fault.spec().why);
    }
    let differences: Vec<_> = report.runs.iter().filter_map(difference).collect();
    text += "\n## Differences\n\n";
    match differences.as_slice() {
        [] => text += "None: no strategy oversold that must not, and every strategy oversold that must.\n",
        some => some.iter().for_each(|difference| text += &format!("- {difference}\n")),
    }
    let settings = &report.settings;
    let _ = writeln!(
        text,
        "\nSeed {}, lease {} ms, payment {} ms, arrivals {}.",
        settings.seed, settings.lease_ms, settings.payment_ms, settings.arrivals
    );
    text
}

fn theory_of(run: &RunReport) -> Theory {
    Theory::of(run.strategy, run.fault, Duration::from_millis(run.payment_ms))
}

fn cell(report: &Report, strategy: Strategy, fault: Fault) -> String {
    let run = report.runs.iter().find(|run| run.strategy == strategy && run.fault == fault);
    run.map_or_else(
        || "–".to_owned(),
        |run| {
            let refused = match run.stale_claims_refused + run.stale_writes_refused {
                0 => String::new(),
                refused => format!(", {refused} refused"),
            };
            format!("{} ({}{refused})", run.units_oversold, theory_of(run).name())
        },
    )
}

fn difference(run: &RunReport) -> Option<String> {
    let (name, oversold) = (run.name(), run.units_oversold);
    match theory_of(run) {
        Theory::Never if oversold > 0 => Some(format!("{name} oversold {oversold} units, and must not")),
        Theory::Certain if oversold == 0 => Some(format!("{name} oversold nothing, and theory predicts that it does")),
        Theory::Never | Theory::Open | Theory::Certain => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::sample;

    #[test]
    fn the_document_of_the_sample() {
        let report = sample::report();
        let matrix = Matrix::of(&report.runs).expect("several strategies and faults");
        insta::assert_snapshot!(text(&report, &matrix));
    }
}
