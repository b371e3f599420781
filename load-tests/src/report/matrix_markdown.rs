//! `matrix.md`: every strategy under every fault, what theory says against what was seen.
//!
//! Absence: nothing is judged here; `verdict` does that with the same theory.

use std::fmt::Write as _;
use std::io;
use std::path::Path;
use std::time::Duration;

use contract::Strategy;

use crate::faults::Fault;
use crate::report::{Report, RunReport};
use crate::scenario::theory::Theory;

/// Writes it into the folder, if the run has the makings of a matrix: more than one strategy, more than one fault.
///
/// # Errors
/// The file cannot be written.
pub fn write(report: &Report, folder: &Path) -> io::Result<()> {
    let (strategies, faults) = axes(&report.runs);
    if strategies.len() < 2 || faults.len() < 2 {
        return Ok(());
    }
    std::fs::write(folder.join("matrix.md"), text(report))
}

/// The whole document.
pub fn text(report: &Report) -> String {
    let (strategies, faults) = axes(&report.runs);
    let stock = report.runs.first().map_or(0, |run| run.initial_stock);
    let mut text = String::from("# Units oversold, every strategy under every fault\n\n");
    let _ = writeln!(
        text,
        "Of {stock} units in each cell. `never`: it must not oversell. `must`: theory says that it does, and a run that \
         does not show it is void. `may`: nobody promised anything.\n"
    );
    let _ = writeln!(text, "| fault (fired) | {} |", names(&strategies).join(" | "));
    let _ = writeln!(text, "|---|{}", "---|".repeat(strategies.len()));
    for &fault in &faults {
        let fired = report.runs.iter().filter(|run| run.fault == fault).map(|run| run.faults_fired).max().unwrap_or(0);
        let cells: Vec<_> = strategies.iter().map(|&strategy| cell(report, strategy, fault)).collect();
        let fired = if fault == Fault::None { String::new() } else { format!(" ({fired})") };
        let _ = writeln!(text, "| {fault}{fired} | {} |", cells.join(" | "));
    }
    text += "\n## Expected, and why\n\n";
    for &fault in &faults {
        let _ = writeln!(text, "- **{fault}**: {}", fault.spec().why);
    }
    let surprises: Vec<_> = report.runs.iter().filter_map(difference).collect();
    text += "\n## Differences\n\n";
    match surprises.as_slice() {
        [] => text += "None: whoever must not oversell did not, whoever must be caught was.\n",
        some => some.iter().for_each(|surprise| text += &format!("- {surprise}\n")),
    }
    let settings = &report.settings;
    let _ = writeln!(
        text,
        "\nSeed {}, lease {} ms, payment {} ms, arrivals {}.",
        settings.seed, settings.lease_ms, settings.payment_ms, settings.arrivals
    );
    text
}

/// The strategies and the faults that were run, in order, once each.
pub(crate) fn axes(runs: &[RunReport]) -> (Vec<Strategy>, Vec<Fault>) {
    let (mut strategies, mut faults) = (Vec::new(), Vec::new());
    for run in runs {
        if !strategies.contains(&run.strategy) {
            strategies.push(run.strategy);
        }
        if !faults.contains(&run.fault) {
            faults.push(run.fault);
        }
    }
    (strategies, faults)
}

fn names(strategies: &[Strategy]) -> Vec<String> {
    strategies.iter().map(|strategy| format!("`{strategy}`")).collect()
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
    let (name, over) = (format!("{} under {}", run.strategy, run.fault), run.units_oversold);
    match theory_of(run) {
        Theory::Never if over > 0 => Some(format!("{name} oversold {over} units, and must not")),
        Theory::Certain if over == 0 => Some(format!("{name} was not caught, and theory says that it can be")),
        Theory::Never | Theory::Open | Theory::Certain => None,
    }
}
