//! Arguments that are refused, and the plans of those that are not.

use clap::{CommandFactory as _, Parser as _};
use contract::Strategy;
use strum::VariantArray as _;

use super::{Cli, Command};
use crate::faults::Fault;
use crate::scenario::plan::Plan;

fn run(arguments: &[&str]) -> Result<Plan, clap::Error> {
    let Command::Run(run) = Cli::try_parse_from(["oversell", "run"].iter().chain(arguments))?.command else {
        panic!("it is `run`");
    };
    run.plan()
}

#[test]
fn the_definition_is_sound() {
    Cli::command().debug_assert();
}

#[test]
fn bad_usage_ends_with_2_and_names_what_is_allowed() {
    let wrong = [
        (vec!["--strategies", "magic"], "redlock-fenced"),
        (vec!["--faults", "earthquake"], "pause-inventory"),
        (vec!["--redis-nodes", "4"], "odd"),
        (vec!["--replicas", "1"], "from 2 to 8"),
        (vec!["--stock", "0"], "1"),
        (vec!["--users", "many"], "from 1 to 10000"),
        (vec!["--users", "10000", "--iterations", "1001"], "--users 10000, --iterations 1001"),
        (vec!["--skus", "9", "--stock", "4"], "at most 4"),
        (vec!["--target", "http://x", "--replicas", "2"], "--target"),
        (vec!["--quik"], "--quick"),
        (vec!["--skew", "9"], "0..=5"),
        (vec!["--skew", "nan"], "0..=5"),
        (vec!["--scenario", "no-such-file.toml"], "no-such-file.toml"),
        (vec!["--matrix", "--scenario", "x"], "--scenario"),
    ];
    for (arguments, hint) in wrong {
        let error = run(&arguments).expect_err("bad usage");
        assert_eq!(error.exit_code(), 2, "{arguments:?}");
        assert!(error.to_string().contains(hint), "{arguments:?}: {error}");
    }
}

#[test]
fn the_story_is_the_default_and_quick_is_a_smaller_load() {
    let (full, quick) = (run(&[]).expect("a plan"), run(&["--quick"]).expect("a plan"));
    assert_eq!(full.rows().collect::<Vec<_>>(), crate::scenario::plan::STORY);
    assert!(quick.load.attempts() < full.load.attempts());
}

#[test]
fn the_matrix_is_every_strategy_under_every_fault_unless_some_are_selected() {
    for quick in [&["--matrix", "--quick"][..], &["--matrix"]] {
        let plan = run(quick).expect("a plan");
        assert_eq!(plan.cells.len(), Fault::VARIANTS.len());
        assert_eq!(plan.strategies().len(), Strategy::VARIANTS.len());
    }
    let plan = run(&["--matrix", "--faults", "none", "--strategies", "off,atomic"]).expect("a plan");
    assert_eq!((plan.cells.len(), plan.rows().count()), (1, 2));
}

#[test]
fn the_same_seed_makes_the_same_plan() {
    let demand = || run(&["--quick", "--seed", "7"]).map(|plan| plan.load.demand(plan.seed)).expect("a plan");
    assert_eq!(demand(), demand());
}
