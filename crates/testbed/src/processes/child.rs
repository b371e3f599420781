//! One direct child process: signals to it, waiting for it, its certain end.
//!
//! Invariant: it is reaped only in [`Child::stop_and_reap`], after the watchdog was told to forget it. Until then the kernel
//! keeps its process id for it, so no signal sent from here can reach a stranger.
//! Absence: nothing here knows what the process is for.

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

/// A running, or ended but not yet reaped, child of this process. Dropping it ends it.
#[derive(Debug)]
pub(crate) struct Child {
    watchdog: &'static Watchdog,
    inner: std::process::Child,
    pid: Pid,
    policy: StopPolicy,
    reaped: Option<ExitStatus>,
}

impl Child {
    /// Starts `program`; `fill` adds arguments, environment, outputs, account.
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
            // An error says that it has ended; whoever waits for it will see that.
            let _ = kill_process(self.pid, signal);
        }
    }

    /// Whether it has ended, without reaping it.
    pub(crate) fn ended(&self) -> bool {
        self.reaped.is_some()
            || peek_state(self.pid, WaitIdOptions::EXITED | WaitIdOptions::NOHANG).is_some_and(|state| ended(&state))
    }

    /// Resolves when it is in the stopped state; `false` if it ended instead. Woken by SIGCHLD, never by a clock.
    ///
    /// # Cancel safety: nothing is consumed; it may be asked again.
    pub(crate) async fn stopped(&self) -> io::Result<bool> {
        Ok(self.until(WaitIdOptions::STOPPED | WaitIdOptions::EXITED).await?.is_some_and(|state| !ended(&state)))
    }

    /// Resolves when it has ended. It is not reaped.
    ///
    /// # Cancel safety: nothing is consumed; it may be asked again.
    pub(crate) async fn until_ended(&self) -> io::Result<()> {
        self.until(WaitIdOptions::EXITED).await.map(drop)
    }

    async fn until(&self, what: WaitIdOptions) -> io::Result<Option<WaitIdStatus>> {
        // Listening before looking: a change in between is not missed.
        let mut changes = signal(SignalKind::child())?;
        while self.reaped.is_none() {
            if let Some(state) = peek_state(self.pid, what | WaitIdOptions::NOHANG) {
                return Ok(Some(state));
            }
            changes.recv().await;
        }
        Ok(None)
    }

    /// Ends it as it was agreed at the start, off the async threads.
    ///
    /// # Cancel safety: a cancelled call still ends it, a moment later.
    pub(crate) async fn stop(self, policy: StopPolicy) -> Option<ExitStatus> {
        let mut child = self;
        tokio::task::spawn_blocking(move || child.stop_and_reap(policy)).await.unwrap_or_default()
    }

    /// Ends it, waits, tells the watchdog, reaps: in this order. Blocks for at most the grace and a little.
    fn stop_and_reap(&mut self, policy: StopPolicy) -> Option<ExitStatus> {
        if self.reaped.is_some() {
            return self.reaped;
        }
        // The signal first: one that was paused finds it pending when it continues, and does nothing else.
        self.signal(policy.signal());
        self.signal(Signal::CONT);
        let (over, waiting) = mpsc::channel::<()>();
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
            drop(over);
        });
        // What it left in its group; the group is ours as long as its leader is not reaped.
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

/// Looks at a child's state and leaves it as it is. `None`: nothing of the kind (yet), or no such child.
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
