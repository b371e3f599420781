//! The verdict in sentences, for the terminal, `report.md` and `index.html`.

use super::model::{Conclusion, Report, RunReport, Verdict};

/// The verdict in one sentence: the first of the conclusions.
pub(super) fn headline(report: &Report) -> String {
    conclusions(report).into_iter().next().unwrap_or_default()
}

/// The verdict with every reason and every warning, the decisive one first.
pub(super) fn conclusions(report: &Report) -> Vec<String> {
    let verdict = &report.verdict;
    let conclusion = verdict.conclusion();
    let summary = match conclusion {
        Conclusion::Passed => Some(passed(verdict)),
        Conclusion::Shown => Some(shown(&report.runs)),
        Conclusion::Broken | Conclusion::Void => None,
    };
    let mut sentences: Vec<_> = summary.map(|summary| format!("{conclusion}: {summary}")).into_iter().collect();
    sentences.extend(verdict.broken_promises.iter().map(|broken| format!("{}: {broken}.", Conclusion::Broken)));
    sentences.extend(verdict.void_reasons.iter().map(|reason| format!("{}: {reason}.", Conclusion::Void)));
    sentences.extend(verdict.warnings.iter().map(|warning| format!("NOTE: {warning}.")));
    sentences
}

/// One sentence per row, then the conclusions.
pub(super) fn sentences(report: &Report) -> Vec<String> {
    report.runs.iter().map(row).chain(conclusions(report)).collect()
}

fn passed(verdict: &Verdict) -> String {
    let rows = match verdict.promises_tested {
        1 => "1 row".to_owned(),
        rows => format!("{rows} rows"),
    };
    let kept = format!("no strategy oversold where it promises not to ({rows})");
    match verdict.error_reduction_percent {
        Some(percent) => format!("{kept}; compared with no lock, errors were reduced by {percent} %."),
        None => format!("{kept}."),
    }
}

/// What the chart of all rows shows: its worst row, and how the others did.
pub(super) fn finding(runs: &[RunReport]) -> String {
    let Some(worst) = runs.iter().max_by_key(|run| run.units_oversold).filter(|run| run.units_oversold > 0) else {
        return "No row sold more than there was".to_owned();
    };
    let kept = runs.iter().filter(|run| run.units_oversold == 0).count();
    let rows = if kept == 1 { "row" } else { "rows" };
    format!(
        "{} sold {} units of {}; {kept} {rows} sold no more than there was",
        worst.name(),
        worst.units_sold,
        worst.initial_stock
    )
}

/// What a run without any promise shows: its worst row.
fn shown(runs: &[RunReport]) -> String {
    let oversold = runs.iter().filter(|run| run.units_oversold > 0).count();
    let worst = runs.iter().max_by_key(|run| run.units_oversold);
    let shown = match worst.filter(|_| oversold > 0) {
        Some(worst) => {
            let more = match oversold {
                1 => String::new(),
                rows => format!(", the most of {rows} rows that oversold"),
            };
            format!("{} oversold {} units of {}{more}", worst.name(), worst.units_oversold, worst.initial_stock)
        }
        None => "nothing was oversold".to_owned(),
    };
    format!("{shown}; no strategy of this run promises not to.")
}

/// What one row shows.
pub(super) fn row(run: &RunReport) -> String {
    let (name, oversold, stock) = (run.name(), run.units_oversold, run.initial_stock);
    let refused = match run.stale_writes_refused {
        0 => String::new(),
        1 => ", and 1 stale write was refused".to_owned(),
        refused => format!(", and {refused} stale writes were refused"),
    };
    let repetition = match run.repetition {
        1 => String::new(),
        repetition => format!(" (repetition {repetition}: the previous one was void)"),
    };
    format!("{name}: {oversold} of {stock} units oversold{refused}{repetition}.")
}

#[cfg(test)]
mod tests {
    use contract::Strategy;

    use super::*;
    use crate::audit::{InFlight, Undecided, Unsettled, Violation};
    use crate::faults::Fault;
    use crate::report::model::{Report, VoidReason};
    use crate::report::sample;
    use crate::report::verdict::judge;

    fn of(runs: Vec<RunReport>, interrupted: Option<&'static str>) -> String {
        let verdict = judge(&runs, interrupted);
        let report = Report { runs, verdict, ..sample::report() };
        format!("{}\n\n{}", headline(&report), sentences(&report).join("\n"))
    }

    #[test]
    fn a_run_that_passed() {
        insta::assert_snapshot!(of(sample::report().runs, None));
    }

    #[test]
    fn a_run_with_broken_promises() {
        let oversold = RunReport { units_oversold: 3, ..sample::run(Strategy::RedlockFenced, Fault::PauseInventory) };
        let mut unaudited = sample::run(Strategy::Off, Fault::None);
        unaudited.audit.violations.push(Violation::SeveralOrders { key: "key-1".into(), count: 2 });
        insta::assert_snapshot!(of(vec![oversold, unaudited], None));
    }

    #[test]
    fn a_run_that_is_void_for_every_reason() {
        let light =
            RunReport { attempts: 300, skus_sold_out: 1, units_oversold: 7, ..sample::run(Strategy::Off, Fault::None) };
        let mild = RunReport { units_oversold: 0, ..sample::run(Strategy::Redlock, Fault::PauseInventory) };
        let missed = RunReport { faults_fired: 0, ..sample::run(Strategy::RedlockFenced, Fault::PauseOrder) };
        let mut untested = RunReport {
            paused_writes_refused: 0,
            repetition: 3,
            ..sample::run(Strategy::RedlockFenced, Fault::PauseInventory)
        };
        untested.audit.undecided.push(Undecided::SearchGaveUp { sku: "a".into() });
        let waited = std::time::Duration::from_secs(9);
        untested.unsettled = Some(Unsettled { in_flight: InFlight::OrdersOrPayments(2), waited });
        insta::assert_snapshot!(of(vec![light, mild, missed, untested], Some("Ctrl-C")));
    }

    #[test]
    fn a_cell_that_could_not_be_run() {
        let failed = VoidReason::CellFailed { fault: Fault::RedisSlow, error: "redis-2 does not answer".into() };
        let report = sample::report();
        let verdict = judge(&report.runs, None).also_void(vec![failed]);
        insta::assert_snapshot!(headline(&Report { verdict, ..report }));
    }

    #[test]
    fn a_run_in_which_nobody_promised_anything_is_shown_and_has_not_passed() {
        let (off, redlock) =
            (sample::run(Strategy::Off, Fault::None), sample::run(Strategy::Redlock, Fault::PauseInventory));
        insta::assert_snapshot!(of(vec![off, redlock], None));
    }

    #[test]
    fn a_sick_run_says_so() {
        let mut slow = sample::run(Strategy::RedlockFenced, Fault::None);
        slow.latency_ms.p50 = 21.0;
        let lost = RunReport { accepted: 100, sold_out: 150, ..sample::run(Strategy::Atomic, Fault::None) };
        insta::assert_snapshot!(of(vec![slow, lost], None));
    }
}
