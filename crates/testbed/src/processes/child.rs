//! One direct child process: signals, waiting, and an end that is certain.
//!
//! Invariant: it is reaped only in [`Child::stop_and_reap`], after the watchdog has removed it from its list. Until then
//! the kernel reserves its process id, so no signal sent from here can reach another process.
//! Absence: nothing here depends on what the process does.

use std::io;
use std::path::Path;
use std::process::{Command, ExitStatus};
use std::sync::mpsc;
use std::thread;

use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, WaitIdStatus, kill_process, kill_process_group, waitid};
use tokio::signal::unix::{SignalKind, signal};

use crate::error::TestbedError;
use crate::processes::stop_policy::StopPolicy;
use crate::processes::watchdog::Watchdog;

/// A child of this process that is running, or has ended and is not reaped yet. Dropping it ends it.
#[derive(Debug)]
pub(crate) struct Child {
    watchdog: &'static Watchdog,
    inner: std::process::Child,
    pid: Pid,
    policy: StopPolicy,
    reaped: Option<ExitStatus>,
}

impl Child {
    /// Starts `program`; `fill` sets arguments, environment, outputs and account.
    pub(crate) fn spawn(
        name: &str,
        program: &Path,
        policy: StopPolicy,
        fill: impl FnOnce(&mut Command),
    ) -> Result<Self, TestbedError> {
        let watchdog = Watchdog::get()?;
        let inner = watchdog
            .spawn(program, policy.signal_name(), fill)
            .map_err(|source| TestbedError::Spawn { name: name.to_owned(), source })?;
        let pid = Pid::from_child(&inner);
        Ok(Self { watchdog, inner, pid, policy, reaped: None })
    }

    pub(crate) fn id(&self) -> u32 {
        self.inner.id()
    }

    pub(crate) fn stdout(&mut self) -> Option<std::process::ChildStdout> {
        self.inner.stdout.take()
    }

    pub(crate) fn pause(&self) {
        self.signal(Signal::STOP);
    }

    pub(crate) fn resume(&self) {
        self.signal(Signal::CONT);
    }

    fn signal(&self, signal: Signal) {
        if self.reaped.is_none() {
            // It fails only if the process has ended, which every wait reports.
            let _ = kill_process(self.pid, signal);
        }
    }

    /// Whether the child has ended, without reaping it.
    pub(crate) fn ended(&self) -> bool {
        self.reaped.is_some()
            || peek_state(self.pid, WaitIdOptions::EXITED | WaitIdOptions::NOHANG).is_some_and(|state| ended(&state))
    }

    /// Resolves to `true` when it is in the stopped state, to `false` if it ended instead. Woken by SIGCHLD, without polling.
    ///
    /// # Cancel safety: nothing is consumed; a later call resolves again.
    pub(crate) async fn stopped(&self) -> io::Result<bool> {
        Ok(self.until(WaitIdOptions::STOPPED | WaitIdOptions::EXITED).await?.is_some_and(|state| !ended(&state)))
    }

    /// Resolves when the child has ended, without reaping it.
    ///
    /// # Cancel safety: nothing is consumed; a later call resolves again.
    pub(crate) async fn until_ended(&self) -> io::Result<()> {
        self.until(WaitIdOptions::EXITED).await.map(drop)
    }

    async fn until(&self, what: WaitIdOptions) -> io::Result<Option<WaitIdStatus>> {
        // Subscribed before the state is read: a change in between is not missed.
        let mut changes = signal(SignalKind::child())?;
        while self.reaped.is_none() {
            if let Some(state) = peek_state(self.pid, what | WaitIdOptions::NOHANG) {
                return Ok(Some(state));
            }
            changes.recv().await;
        }
        Ok(None)
    }

    /// Ends the child by `policy`, off the async threads.
    ///
    /// # Cancel safety: the process is ended all the same, a moment later.
    pub(crate) async fn stop(self, policy: StopPolicy) -> Option<ExitStatus> {
        let mut child = self;
        tokio::task::spawn_blocking(move || child.stop_and_reap(policy)).await.unwrap_or_default()
    }

    /// Signals it, waits, removes it from the watchdog's list, and reaps it, in this order. Blocks for little more than the
    /// grace.
    fn stop_and_reap(&mut self, policy: StopPolicy) -> Option<ExitStatus> {
        if self.reaped.is_some() {
            return self.reaped;
        }
        // The signal before SIGCONT: a paused process receives it when it continues, and runs nothing else.
        self.signal(policy.signal());
        self.signal(Signal::CONT);
        let (ended, waiting) = mpsc::channel::<()>();
        let pid = self.pid;
        thread::scope(|scope| {
            if policy.signal() != Signal::KILL {
                scope.spawn(move || {
                    if waiting.recv_timeout(policy.grace()) == Err(mpsc::RecvTimeoutError::Timeout) {
                        let _ = kill_process(pid, Signal::KILL);
                    }
                });
            }
            peek_state(pid, WaitIdOptions::EXITED);
            drop(ended);
        });
        // Its descendants. No other group can have this id until the leader is reaped.
        let _ = kill_process_group(self.pid, Signal::KILL);
        self.watchdog.forget(self.inner.id());
        self.reaped = self.inner.wait().ok();
        self.reaped
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        self.stop_and_reap(self.policy);
    }
}

/// Reads a child's state without reaping it. `None` if it is in none of the states `what`, or is no child.
fn peek_state(pid: Pid, what: WaitIdOptions) -> Option<WaitIdStatus> {
    loop {
        match waitid(WaitId::Pid(pid), what | WaitIdOptions::NOWAIT) {
            Err(rustix::io::Errno::INTR) => {}
            other => return other.ok().flatten(),
        }
    }
}

fn ended(state: &WaitIdStatus) -> bool {
    state.exited() || state.killed() || state.dumped()
}
