//! Every reason to be void and every broken promise, one at a time, from rows as theory predicts them.

use super::*;
use crate::audit::{AnswerShown, InFlight, Item, Undecided, Unsettled, Violation};
use crate::report::sample::run as row;

fn story() -> Vec<RunReport> {
    crate::scenario::plan::STORY.iter().map(|plan| row(plan.strategy, plan.fault)).collect()
}

fn verdict(runs: &[RunReport]) -> Verdict {
    judge(runs, None)
}

#[track_caller]
fn is_void(runs: &[RunReport], because: &RowVoid) {
    let verdict = verdict(runs);
    assert_eq!(verdict.exit_status(), 3, "{verdict:?}");
    let named = |reason: &VoidReason| matches!(reason, VoidReason::Row { reason, .. } if reason == because);
    assert!(verdict.void_reasons.iter().any(named), "{:?}", verdict.void_reasons);
}

#[test]
fn the_story_passes_and_reduces_errors_by_100_percent() {
    let verdict = verdict(&story());
    assert_eq!((verdict.exit_status(), verdict.valid, verdict.error_reduction_percent), (0, true, Some(100.0)));
}

#[test]
fn only_a_void_row_that_broke_no_promise_is_worth_repeating() {
    let fine = row(Strategy::RedlockFenced, Fault::PauseInventory);
    let missed = RunReport { faults_fired: 0, ..fine.clone() };
    let broken = RunReport { units_oversold: 1, ..missed.clone() };
    let hopeless = RunReport { attempts: 399, attempts_planned: 399, ..missed.clone() };
    assert_eq!([fine, missed, broken, hopeless].map(|row| is_worth_repeating(&row)), [false, true, false, false]);
}

#[test]
fn too_little_demand_is_void() {
    let mut runs = story();
    (runs[1].attempts, runs[1].attempts_planned) = (399, 399);
    is_void(&runs, &RowVoid::TooFewOrders { attempts: 399, stock: 100, needed: 400 });
}

#[test]
fn a_row_cut_short_is_void() {
    let mut runs = story();
    runs[0].attempts_planned = 401;
    is_void(&runs, &RowVoid::OrdersMissing { attempts: 400, planned: 401 });
}

#[test]
fn a_sku_that_did_not_sell_out_is_void() {
    let mut runs = story();
    runs[3].skus_sold_out = 1;
    is_void(&runs, &RowVoid::NotSoldOut { sold_out: 1, skus: 2 });
}

#[test]
fn a_row_without_a_lock_that_oversold_less_than_the_stock_is_void() {
    let mut runs = story();
    runs[0].units_oversold = 99;
    is_void(&runs, &RowVoid::LoadTooLight { oversold: 99, stock: 100 });
}

#[test]
fn a_fault_that_never_fired_is_void() {
    let mut runs = story();
    runs[2].faults_fired = 0;
    is_void(&runs, &RowVoid::FaultNeverFired);
}

#[test]
fn a_fence_without_a_stale_write_to_refuse_is_void() {
    let mut runs = story();
    runs[3].paused_writes_refused = 0;
    is_void(&runs, &RowVoid::FenceNotTested);
    // A refused write of a replica that was not paused proves nothing either.
    runs[3].stale_writes_refused = 9;
    is_void(&runs, &RowVoid::FenceNotTested);
}

#[test]
fn pauses_that_oversold_nothing_without_a_fence_are_void() {
    let mut runs = story();
    runs[2].units_oversold = 0;
    is_void(&runs, &RowVoid::FaultTooMild);
}

#[test]
fn a_row_that_was_audited_before_quiescence_is_void() {
    let mut runs = story();
    let unsettled = Unsettled { in_flight: InFlight::OrdersOrPayments(2), waited: Duration::from_secs(9) };
    runs[1].unsettled = Some(unsettled);
    is_void(&runs, &RowVoid::Unsettled(unsettled));
    // Its violations prove nothing either, but oversold units do.
    runs[1].audit.violations.push(Violation::SeveralOrders { key: "key-1".into(), count: 2 });
    is_void(&runs, &RowVoid::Unsettled(unsettled));
    runs[1].units_oversold = 1;
    assert_eq!(verdict(&runs).exit_status(), 1);
}

#[test]
fn an_undecided_item_is_void_and_no_broken_promise() {
    let mut runs = story();
    let undecided = Undecided::SearchGaveUp { sku: "a".into() };
    runs[3].audit.undecided.push(undecided.clone());
    is_void(&runs, &RowVoid::Undecided { item: undecided.item(), undecided });
}

#[test]
fn a_cell_that_could_not_be_run_makes_the_run_void() {
    let failed = VoidReason::CellFailed { fault: Fault::RedisSlow, error: "redis-2 does not answer".into() };
    let verdict = verdict(&story()).also_void(vec![failed]);
    assert_eq!((verdict.exit_status(), verdict.valid), (3, false));
    assert_eq!(judge(&story(), None).also_void(Vec::new()).exit_status(), 0);
}

#[test]
fn a_run_without_rows_and_an_interrupted_run_are_void() {
    let empty = verdict(&[]);
    assert_eq!((empty.exit_status(), empty.void_reasons), (3, vec![VoidReason::NoRow]));
    assert_eq!(judge(&story(), Some("Ctrl-C")).exit_status(), 3);
}

#[test]
fn a_fenced_row_that_oversold_is_broken_even_if_the_run_is_void() {
    let mut runs = story();
    runs[3].units_oversold = 3;
    let broken = verdict(&runs);
    assert_eq!((broken.exit_status(), broken.error_reduction_percent), (1, Some(99.0)));
    runs[0].units_oversold = 0;
    assert_eq!(verdict(&runs).exit_status(), 1);
}

#[test]
fn a_lock_that_oversold_without_any_fault_is_broken() {
    let mut runs = story();
    runs[1].units_oversold = 1;
    assert_eq!(verdict(&runs).exit_status(), 1);
}

#[test]
fn off_may_corrupt_stock_but_not_contradict_an_answer() {
    let mut runs = story();
    let answer = AnswerShown { status: Some(201), code: None };
    let contradicted = Violation::AnswerContradicted { key: "key-1".into(), answer, reservations: 0 };
    runs[0].audit.violations.push(contradicted.clone());
    let verdict = verdict(&runs);
    assert_eq!(verdict.exit_status(), 1);
    let failed = BrokenPromise::AuditFailed { row: runs[0].name(), item: Item::AnswersAgree, violation: contradicted };
    assert_eq!(verdict.broken_promises, [failed]);
}

#[test]
fn without_a_row_to_compare_with_there_is_no_reduction() {
    assert_eq!(verdict(&story()[1..]).error_reduction_percent, None);
    assert_eq!(verdict(&story()[..3]).error_reduction_percent, None);
}
