//! The soak finds what it is there to find: with the conditions of the fenced write taken out of its database it ends
//! with a violation, the seed and a history; with them in place a minute passes.

use clap::Parser as _;
use load_tests::cli::{Cli, Command};
use load_tests::interrupt::Interrupt;
use load_tests::runner::soak::Soak;

use crate::faults::environment::binaries;

async fn soak(minutes: &str, arguments: &[&str]) -> (u8, String, usize) {
    let folder = tempfile::tempdir().expect("a folder");
    let folder_name = folder.path().display().to_string();
    let common =
        ["oversell", "soak", "--minutes", minutes, "--seed", "11", "--redis-nodes", "3", "--report", &folder_name];
    let Command::Soak(args) = Cli::parse_from(common.iter().chain(arguments)).command else { panic!("it is `soak`") };
    let soak = Soak { plan: args.plan(), binaries: binaries(), folder: args.report };
    let report = soak.run(&Interrupt::never()).await.expect("a soak");
    let entries =
        std::fs::read_dir(folder.path()).expect("the folder").map(|entry| entry.expect("an entry").file_name());
    let histories = entries.filter(|name| name.to_string_lossy().starts_with("history-")).count();
    (report.exit_status(), report.verdict(), histories)
}

#[tokio::test]
async fn a_minute_of_random_faults_passes_and_leaves_no_history() {
    let (status, verdict, histories) = soak("1", &[]).await;
    assert_eq!((status, histories), (0, 0), "{verdict}");
}

#[tokio::test]
async fn without_the_write_conditions_the_soak_ends_with_a_violation_and_its_history() {
    let (status, verdict, histories) = soak("5", &["--break", "write-conditions"]).await;
    assert_eq!((status, histories), (1, 1), "{verdict}");
    assert!(verdict.contains("Seed 11"), "{verdict}");
}
