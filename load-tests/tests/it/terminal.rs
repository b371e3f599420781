//! What a run prints, as a person sees it: the verdict on standard output and nothing else, in lines that fit a
//! terminal of 80 characters.

use std::time::Duration;

use tokio::process::Command;
use tokio::time::timeout;

/// Longer than the run takes, on any machine.
const TIME_LIMIT: Duration = Duration::from_mins(2);
/// Of a terminal that is not wide.
const WIDTH: usize = 80;

#[tokio::test]
async fn a_run_prints_its_verdict_on_standard_output_and_nothing_else() {
    let folder = tempfile::tempdir().expect("a folder");
    let report = format!("--report={}", folder.path().display());
    let load = ["--users=8", "--stock=8", "--skus=1", "--iterations=4", "--redis-nodes=3", "--seed=7"];
    let sale = ["run", "--strategies=redlock-fenced", "--faults=none", &report];
    let run = Command::new(env!("CARGO_BIN_EXE_oversell")).args(sale).args(load).kill_on_drop(true).output();
    let run = timeout(TIME_LIMIT, run).await.expect("an end").expect("a run");
    let (stdout, stderr) = (String::from_utf8_lossy(&run.stdout), String::from_utf8_lossy(&run.stderr));
    assert!(run.status.success(), "{stdout}{stderr}");
    let lines: Vec<_> = stdout.lines().filter(|line| !line.is_empty()).collect();
    assert!(lines[0].starts_with(" strategy · fault "), "a library printed something: {stdout}");
    assert!(lines[2].starts_with(" redlock-fenced · none "), "{stdout}");
    assert!(lines[3].starts_with("PASSED: no strategy oversold where it promises not to (1 row)."), "{stdout}");
    let (last, others) = lines.split_last().expect("lines");
    assert!(last.starts_with("Report: ") && last.ends_with("index.html"), "{stdout}");
    for line in others.iter().copied().chain(stderr.lines()) {
        assert!(line.chars().count() <= WIDTH, "{line}");
    }
}
