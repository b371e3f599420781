//! Every way to be void or broken, one at a time, from rows in which everything is right.

use super::*;
use crate::report::sample::run as row;

fn story() -> Vec<RunReport> {
    crate::scenario::plan::STORY.iter().map(|plan| row(plan.strategy, plan.fault)).collect()
}

fn verdict(runs: &[RunReport]) -> Verdict {
    Verdict::of(runs, None)
}

#[track_caller]
fn is_void(runs: &[RunReport], because: &str) {
    let verdict = verdict(runs);
    assert_eq!(verdict.exit_status(), 3, "{verdict:?}");
    assert!(verdict.why_not.iter().any(|why| why.contains(because)), "{:?}", verdict.why_not);
    assert!(!verdict.sentences().iter().any(|sentence| sentence.contains("PASSED")));
}

#[test]
fn the_story_passes_with_all_errors_gone() {
    let verdict = verdict(&story());
    assert_eq!((verdict.exit_status(), verdict.valid, verdict.error_reduction_percent), (0, true, Some(100.0)));
    assert!(verdict.sentences().iter().any(|sentence| sentence.starts_with("PASSED")));
}

#[test]
fn only_a_row_that_showed_nothing_is_run_again() {
    let fine = row(Strategy::RedlockFenced, Fault::PauseInventory);
    let missed = RunReport { faults_fired: 0, ..fine.clone() };
    let broken = RunReport { units_oversold: 1, ..missed.clone() };
    let hopeless = RunReport { attempts: 399, attempts_planned: 399, ..missed.clone() };
    assert_eq!([fine, missed, broken, hopeless].map(|row| shows_nothing(&row)), [false, true, false, false]);
}

#[test]
fn a_row_that_was_run_again_says_so() {
    let again = RunReport { repetition: 2, ..row(Strategy::RedlockFenced, Fault::PauseInventory) };
    assert!(verdict(&[again]).sentences()[0].contains("repetition 2"), "the repetitions before it are not hidden");
}

#[test]
fn too_little_demand_is_void() {
    let mut runs = story();
    (runs[1].attempts, runs[1].attempts_planned) = (399, 399);
    is_void(&runs, "too few");
}

#[test]
fn a_row_cut_short_is_void() {
    let mut runs = story();
    runs[0].attempts_planned = 401;
    is_void(&runs, "400 of 401 orders were placed");
}

#[test]
fn what_did_not_sell_out_is_void() {
    let mut runs = story();
    runs[3].skus_sold_out = 1;
    is_void(&runs, "1 of 2 SKUs sold out");
}

#[test]
fn no_lock_that_hardly_oversold_is_void() {
    let mut runs = story();
    runs[0].units_oversold = 99;
    is_void(&runs, "load was too light");
}

#[test]
fn a_fault_that_never_struck_is_void() {
    let mut runs = story();
    runs[2].faults_fired = 0;
    is_void(&runs, "the fault never events");
}

#[test]
fn a_fence_that_had_nothing_to_refuse_is_void() {
    let mut runs = story();
    runs[3].paused_writes_refused = 0;
    is_void(&runs, "the fence was not tested");
    // A refused write that no pause made stale proves nothing either.
    runs[3].stale_writes_refused = 9;
    is_void(&runs, "the fence was not tested");
}

#[test]
fn pauses_that_did_no_harm_without_a_fence_are_void() {
    let mut runs = story();
    runs[2].units_oversold = 0;
    is_void(&runs, "too mild");
}

#[test]
fn books_that_did_not_come_to_rest_are_void() {
    let mut runs = story();
    runs[1].unsettled = Some("2 orders or payments are unresolved after 9s".into());
    is_void(&runs, "audited while 2 orders");
    // What was found in them proves nothing either, but for units that were sold twice.
    runs[1].audit.violations.push("10: order x: its payment is open".into());
    is_void(&runs, "audited while 2 orders");
    runs[1].units_oversold = 1;
    assert_eq!(verdict(&runs).exit_status(), 1);
}

#[test]
fn an_audit_that_could_not_decide_is_void_and_no_broken_promise() {
    let mut runs = story();
    runs[3].audit.unknown.push("9: a: the search for an order of the answers gave up".into());
    is_void(&runs, "could not decide item 9");
}

#[test]
fn rows_that_could_not_be_run_make_the_others_no_pass() {
    let verdict = verdict(&story()).without(vec!["under redis-slow nothing could be run: a node was gone".into()]);
    assert_eq!((verdict.exit_status(), verdict.valid), (3, false));
    assert_eq!(Verdict::of(&story(), None).without(Vec::new()).exit_status(), 0);
}

#[test]
fn nothing_run_and_interrupted_are_void() {
    is_void(&[], "no row was run");
    let verdict = Verdict::of(&story(), Some("Ctrl-C"));
    assert_eq!(verdict.exit_status(), 3);
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
fn spoiled_stock_is_expected_of_off_but_books_that_lie_are_not() {
    let mut runs = story();
    runs[0].audit.violations.push("7: key-1: the customer was told 201, the snapshot show 0 reservations".into());
    let verdict = verdict(&runs);
    assert_eq!(verdict.exit_status(), 1);
    assert!(verdict.broken[0].contains("item 7"), "{:?}", verdict.broken);
}

#[test]
fn without_a_row_to_compare_with_there_is_no_reduction() {
    assert_eq!(verdict(&story()[1..]).error_reduction_percent, None);
    assert_eq!(verdict(&story()[..3]).error_reduction_percent, None);
}
