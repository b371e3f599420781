//! The service examples/greeter.rs as a child process. Killed when dropped.

use std::{path::PathBuf, process::Stdio};

use rustix::process::{Pid, Signal, kill_process};
use tokio::{
    io::{AsyncBufReadExt as _, AsyncReadExt as _, BufReader, Lines},
    process::{Child, ChildStdout, Command},
};

pub(crate) struct Greeter {
    child: Child,
    stdout: Lines<BufReader<ChildStdout>>,
    pub(crate) url: String,
}

/// The exit of the process, and its output until then.
pub(crate) struct Ended {
    pub(crate) success: bool,
    pub(crate) more_stdout: Vec<String>,
    pub(crate) stderr: String,
}

impl Greeter {
    pub(crate) async fn start(flags: &[&str]) -> Self {
        Self::start_with(flags, &[]).await
    }

    pub(crate) async fn start_with(flags: &[&str], envs: &[(&str, &str)]) -> Self {
        let mut command = Command::new(example());
        command.args(flags).envs(envs.iter().copied());
        Self::spawn(command).await
    }

    /// With this many file handles.
    pub(crate) async fn start_with_handles(handles: u16) -> Self {
        let mut command = Command::new("sh");
        command.args(["-c", "ulimit -n \"$0\" && exec \"$1\""]).arg(handles.to_string()).arg(example());
        Self::spawn(command).await
    }

    async fn spawn(mut command: Command) -> Self {
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .expect("examples/greeter, built by `cargo test -p service-kit`");
        let stdout = child.stdout.take().expect("a pipe");
        let mut stdout = BufReader::new(stdout).lines();
        let url = stdout.next_line().await.expect("stdout").expect("the address");
        Self { child, stdout, url }
    }

    pub(crate) async fn end_with(mut self, signal: Signal) -> Ended {
        let pid = self.child.id().and_then(|pid| i32::try_from(pid).ok());
        let pid = pid.and_then(Pid::from_raw).expect("a running process");
        kill_process(pid, signal).expect("a signal sent");
        let mut stderr = String::new();
        let mut pipe = self.child.stderr.take().expect("a pipe");
        pipe.read_to_string(&mut stderr).await.expect("stderr");
        let success = self.child.wait().await.expect("an end").success();
        let mut more_stdout = Vec::new();
        while let Some(line) = self.stdout.next_line().await.expect("stdout") {
            more_stdout.push(line);
        }
        Ended { success, more_stdout, stderr }
    }
}

/// Beside the `deps` folder this test runs from.
fn example() -> PathBuf {
    let test = std::env::current_exe().expect("our own path");
    let target = test.ancestors().nth(2).expect("target/debug");
    target.join("examples").join("greeter")
}
