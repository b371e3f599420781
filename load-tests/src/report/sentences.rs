//! The verdict in sentences, for the terminal, `report.md` and `index.html`.

use super::model::{Report, RunReport, Verdict};

/// The verdict in one sentence.
pub(super) fn headline(verdict: &Verdict) -> String {
    match (verdict.broken_promises.as_slice(), verdict.void_reasons.as_slice(), verdict.error_reduction_percent) {
        ([broken, ..], _, _) => format!("BROKEN: {broken}."),
        ([], [reason, ..], _) => format!("VOID: {reason}."),
        ([], [], Some(percent)) => {
            format!("PASSED: every promise not to oversell was kept, and errors were reduced by {percent} %.")
        }
        ([], [], None) => "PASSED: every promise not to oversell was kept.".to_owned(),
    }
}

/// One sentence per row, then the verdict with every reason.
pub(super) fn sentences(report: &Report) -> Vec<String> {
    let verdict = &report.verdict;
    let mut sentences: Vec<_> = report.runs.iter().map(row).collect();
    sentences.extend(verdict.error_reduction_percent.map(|percent| format!("Errors were reduced by {percent} %.")));
    sentences.extend(verdict.broken_promises.iter().map(|broken| format!("BROKEN: {broken}.")));
    sentences.extend(verdict.void_reasons.iter().map(|reason| format!("VOID: {reason}.")));
    if verdict.valid && verdict.broken_promises.is_empty() {
        sentences.push("PASSED: the run is valid, and every promise not to oversell was kept.".to_owned());
    }
    sentences
}

fn row(run: &RunReport) -> String {
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
        format!("{}\n\n{}", headline(&report.verdict), sentences(&report).join("\n"))
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
        insta::assert_snapshot!(headline(&judge(&sample::report().runs, None).also_void(vec![failed])));
    }
}
