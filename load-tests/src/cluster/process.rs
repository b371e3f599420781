//! Pausing and resuming a replica: a child of this process, or a process on this machine known by its id.
//!
//! Invariant: every pause ends: a [`Paused`] resumes its replica when it is dropped.
//! Absence: nothing is started or ended here; `replica` does that.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, bail};
use rustix::process::{Pid, Signal, kill_process};
use tokio::process::Command;

use crate::cluster::replica::Replica;

/// How often the state of an external process is read; the kernel reports that of a child.
const POLL_INTERVAL: Duration = Duration::from_millis(10);

/// One replica whose process can be paused.
#[derive(Debug, Clone)]
pub struct ReplicaProcess {
    name: String,
    process: Handle,
}

#[derive(Debug, Clone)]
enum Handle {
    Child(Arc<Replica>),
    External(Pid),
}

impl ReplicaProcess {
    /// A child of this process.
    pub fn child(replica: &Arc<Replica>) -> Self {
        Self { name: replica.name().to_owned(), process: Handle::Child(Arc::clone(replica)) }
    }

    /// A process on this machine that another process started; `None` if `pid` is not a process id.
    pub fn external(name: &str, pid: u32) -> Option<Self> {
        let pid = Pid::from_raw(i32::try_from(pid).ok()?)?;
        Some(Self { name: name.to_owned(), process: Handle::External(pid) })
    }

    /// Its name, as in `pids` of `oversell stack --json`.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The replica, to kill and restart; `None` for an external process.
    pub fn replica(&self) -> Option<&Replica> {
        match &self.process {
            Handle::Child(replica) => Some(replica),
            Handle::External(_) => None,
        }
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        match &self.process {
            Handle::Child(replica) => replica.process().pid(),
            Handle::External(pid) => pid.as_raw_nonzero().get().unsigned_abs(),
        }
    }

    /// SIGSTOP; SIGCONT when the guard is dropped.
    pub fn pause(&self) -> Paused<'_> {
        match &self.process {
            Handle::Child(replica) => replica.process().pause(),
            Handle::External(pid) => signal(*pid, Signal::STOP),
        }
        Paused(self)
    }

    /// The guard for a replica that stopped itself.
    pub fn resume_on_drop(&self) -> Paused<'_> {
        Paused(self)
    }

    /// SIGCONT. Without effect on a process that runs.
    pub fn resume(&self) {
        match &self.process {
            Handle::Child(replica) => replica.process().resume(),
            Handle::External(pid) => signal(*pid, Signal::CONT),
        }
    }

    /// Resolves when the process is stopped, by this process or by another one.
    ///
    /// # Errors
    /// The process ended.
    ///
    /// # Cancel safety: nothing is consumed; it can be called again.
    pub async fn stopped(&self) -> anyhow::Result<()> {
        match &self.process {
            Handle::Child(replica) => Ok(replica.process().stopped().await?),
            Handle::External(pid) => loop {
                if is_stopped(*pid).await.with_context(|| self.name.clone())? {
                    return Ok(());
                }
                tokio::time::sleep(POLL_INTERVAL).await;
            },
        }
    }
}

/// A paused replica. Resumes it when dropped.
#[derive(Debug)]
pub struct Paused<'a>(&'a ReplicaProcess);

impl Drop for Paused<'_> {
    fn drop(&mut self) {
        self.0.resume();
    }
}

fn signal(pid: Pid, signal: Signal) {
    // An error means that the process has ended; `stopped` reports that.
    let _ = kill_process(pid, signal);
}

async fn is_stopped(pid: Pid) -> anyhow::Result<bool> {
    let pid = pid.as_raw_nonzero().to_string();
    let output = Command::new("ps").args(["-o", "stat=", "-p", &pid]).kill_on_drop(true).output();
    let output = output.await.context("`ps` could not be run; it reads the state of an external process")?;
    let state = String::from_utf8_lossy(&output.stdout);
    let Some(state) = state.trim().chars().next() else {
        bail!("process {pid} has ended");
    };
    Ok(state == 'T')
}

/// The replicas whose processes are on this machine.
#[derive(Debug, Clone, Default)]
pub struct ReplicaProcesses {
    /// Of order, in the order of their addresses; empty if they run elsewhere.
    pub orders: Vec<ReplicaProcess>,
    /// Of inventory, in the order of their addresses; empty if they run elsewhere.
    pub inventory: Vec<ReplicaProcess>,
}

impl ReplicaProcesses {
    /// Resumes all of them.
    pub fn resume_all(&self) {
        self.orders.iter().chain(&self.inventory).for_each(ReplicaProcess::resume);
    }
}
