//! `Process`: first line, stopped state, end.

use std::ffi::OsString;
use std::os::unix::process::ExitStatusExt as _;
use std::path::PathBuf;
use std::time::Duration;

use testbed::{Folder, Process, ProcessSpec, TestbedError};
use tokio::time::timeout;

/// Reached only if something hangs.
const LIMIT: Duration = Duration::from_secs(30);

fn sh(folder: &Folder, script: &str) -> ProcessSpec {
    ProcessSpec {
        name: "a script".to_owned(),
        program: PathBuf::from("sh"),
        args: ["-c", script].map(OsString::from).into(),
        envs: vec![("GREETING".to_owned(), "hello".to_owned())],
        log: folder.path().join("logs/script.log"),
    }
}

#[tokio::test]
async fn the_first_line_is_returned_and_all_output_is_logged() {
    let folder = Folder::new("process").expect("a folder");
    let script =
        "echo to the log >&2; echo $GREETING; echo second; read -r nothing; echo input is empty; exec sleep 1000";
    let mut process = Process::spawn(sh(&folder, script)).expect("a process");
    assert_eq!(process.first_line(LIMIT).await.expect("a line"), "hello");
    assert_eq!(process.first_line(LIMIT).await.expect("the same line"), "hello");
    assert!(process.log_tail(10).starts_with("to the log"), "{}", process.log_tail(10));
    assert!(!process.ended());
    process.kill().await;
    assert!(process.ended());
}

#[tokio::test]
async fn a_process_without_output_is_an_error_with_its_log() {
    let folder = Folder::new("process").expect("a folder");
    let mut silent = Process::spawn(sh(&folder, "exec sleep 1000")).expect("a process");
    let late = silent.first_line(Duration::from_millis(50)).await.expect_err("it prints nothing");
    assert!(matches!(late, TestbedError::NotReady { .. }), "{late:?}");
    let mut broken = Process::spawn(sh(&folder, "echo no configuration >&2; exit 1")).expect("a process");
    let ended = broken.first_line(LIMIT).await.expect_err("it ended");
    assert!(matches!(&ended, TestbedError::Ended { log, .. } if log == "no configuration"), "{ended:?}");
}

#[tokio::test]
async fn a_missing_program_is_an_error_at_the_start() {
    let folder = Folder::new("process").expect("a folder");
    for program in ["no-such-program-anywhere", "/no/such/program"] {
        let spec = ProcessSpec { program: PathBuf::from(program), ..sh(&folder, "") };
        let error = Process::spawn(spec).expect_err("there is no such program");
        assert!(matches!(error, TestbedError::Spawn { .. }), "{error:?}");
    }
}

#[tokio::test]
async fn stopped_resolves_when_the_process_stops_itself() {
    let folder = Folder::new("process").expect("a folder");
    let mut process =
        Process::spawn(sh(&folder, "kill -s STOP $$; echo continued; exec sleep 1000")).expect("a process");
    timeout(LIMIT, process.stopped()).await.expect("SIGCHLD arrives").expect("it is stopped");
    timeout(LIMIT, process.stopped()).await.expect("a second call resolves at once").expect("it is still stopped");
    let silence = process.first_line(Duration::from_millis(50)).await.expect_err("a stopped process prints nothing");
    assert!(matches!(silence, TestbedError::NotReady { .. }), "{silence:?}");
    process.resume();
    assert_eq!(process.first_line(LIMIT).await.expect("a line"), "continued");
    timeout(Duration::from_millis(50), process.stopped()).await.expect_err("a running process is not stopped");
}

#[tokio::test]
async fn stopped_resolves_when_another_process_stops_it() {
    let folder = Folder::new("process").expect("a folder");
    let mut process = Process::spawn(sh(&folder, "echo up; exec sleep 1000")).expect("a process");
    process.first_line(LIMIT).await.expect("a line");
    let (outcome, ()) = tokio::join!(timeout(LIMIT, process.stopped()), async {
        tokio::task::yield_now().await;
        process.pause();
    });
    outcome.expect("SIGCHLD arrives").expect("it is stopped");
}

#[tokio::test]
async fn stopped_fails_when_the_process_ends_instead() {
    let folder = Folder::new("process").expect("a folder");
    let process = Process::spawn(sh(&folder, "exit 3")).expect("a process");
    let ended = timeout(LIMIT, process.stopped()).await.expect("SIGCHLD arrives").expect_err("it never stops");
    assert!(matches!(ended, TestbedError::Ended { .. }), "{ended:?}");
    timeout(LIMIT, process.until_ended()).await.expect("SIGCHLD arrives").expect("it has ended");
}

#[tokio::test]
async fn terminate_sends_sigterm_first_even_to_a_paused_process() {
    let folder = Folder::new("process").expect("a folder");
    let script = "trap 'exit 7' TERM; echo up; while :; do sleep 0.01; done";
    let mut process = Process::spawn(sh(&folder, script)).expect("a process");
    process.first_line(LIMIT).await.expect("a line");
    process.pause();
    process.stopped().await.expect("it is stopped");
    assert_eq!(process.terminate(LIMIT).await.expect("a status").code(), Some(7));
}

#[tokio::test]
async fn terminate_kills_a_process_that_ignores_sigterm_and_its_children() {
    let folder = Folder::new("process").expect("a folder");
    let script = "trap '' TERM; sleep 1000 & echo $!; while :; do sleep 0.01; done";
    let mut process = Process::spawn(sh(&folder, script)).expect("a process");
    let grandchild: u32 = process.first_line(LIMIT).await.expect("a line").parse().expect("a process id");
    let status = process.terminate(Duration::from_millis(50)).await.expect("a status");
    assert_eq!(status.signal(), Some(9));
    crate::leftovers::until_gone(grandchild).await;
}
