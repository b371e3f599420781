//! Stopping and continuing a replica: a child of this process, or a process on this machine known by its id.
//!
//! Invariant: whoever paused a replica continues it: a [`Paused`] does so when it is dropped, on every way out.
//! Absence: nothing is started or ended here; `service` does that.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, bail};
use rustix::process::{Pid, Signal, kill_process};
use tokio::process::Command;

use crate::cluster::replica::Replica;

/// How often a process that is no child of ours is looked at; of children the kernel tells.
const LOOK_AGAIN: Duration = Duration::from_millis(10);

/// One replica whose process can be stopped.
#[derive(Debug, Clone)]
pub struct ReplicaProcess {
    name: String,
    process: Handle,
}

#[derive(Debug, Clone)]
enum Handle {
    Child(Arc<Replica>),
    ExternalProcess(Pid),
}

impl ReplicaProcess {
    /// A child of this process.
    pub fn child(service: &Arc<Replica>) -> Self {
        Self { name: service.name().to_owned(), process: Handle::Child(Arc::clone(service)) }
    }

    /// Somebody else's child on this machine; `None` if there can be no such process.
    pub fn stranger(name: &str, pid: u32) -> Option<Self> {
        let pid = Pid::from_raw(i32::try_from(pid).ok()?)?;
        Some(Self { name: name.to_owned(), process: Handle::ExternalProcess(pid) })
    }

    /// As in `pids` of `oversell stack --json`.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What can be killed and started again; a stranger's child can not.
    pub fn service(&self) -> Option<&Replica> {
        match &self.process {
            Handle::Child(service) => Some(service),
            Handle::ExternalProcess(_) => None,
        }
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        match &self.process {
            Handle::Child(service) => service.process().pid(),
            Handle::ExternalProcess(pid) => pid.as_raw_nonzero().get().unsigned_abs(),
        }
    }

    /// SIGSTOP, until the guard is dropped.
    pub fn pause(&self) -> Paused<'_> {
        match &self.process {
            Handle::Child(service) => service.process().pause(),
            Handle::ExternalProcess(pid) => signal(*pid, Signal::STOP),
        }
        Paused(self)
    }

    /// A guard for a replica that stopped itself.
    pub fn continued_later(&self) -> Paused<'_> {
        Paused(self)
    }

    /// SIGCONT. Harmless to a process that runs.
    pub fn resume(&self) {
        match &self.process {
            Handle::Child(service) => service.process().resume(),
            Handle::ExternalProcess(pid) => signal(*pid, Signal::CONT),
        }
    }

    /// Resolves when the process is stopped, whoever stopped it.
    ///
    /// # Errors
    /// It ended.
    ///
    /// # Cancel safety: nothing is consumed; it may be asked again.
    pub async fn stopped(&self) -> anyhow::Result<()> {
        match &self.process {
            Handle::Child(service) => Ok(service.process().stopped().await?),
            Handle::ExternalProcess(pid) => loop {
                if is_stopped(*pid).await.with_context(|| self.name.clone())? {
                    return Ok(());
                }
                tokio::time::sleep(LOOK_AGAIN).await;
            },
        }
    }
}

/// Continues the replica when dropped.
#[derive(Debug)]
pub struct Paused<'a>(&'a ReplicaProcess);

impl Drop for Paused<'_> {
    fn drop(&mut self) {
        self.0.resume();
    }
}

fn signal(pid: Pid, signal: Signal) {
    // An error says that it has ended; whoever waits for it will see that.
    let _ = kill_process(pid, signal);
}

async fn is_stopped(pid: Pid) -> anyhow::Result<bool> {
    let pid = pid.as_raw_nonzero().to_string();
    let output = Command::new("ps").args(["-o", "stat=", "-p", &pid]).kill_on_drop(true).output();
    let output = output.await.context("`ps` tells whether a process is stopped")?;
    let state = String::from_utf8_lossy(&output.stdout);
    let Some(state) = state.trim().chars().next() else {
        bail!("process {pid} has ended");
    };
    Ok(state == 'T')
}

/// Those replicas whose processes are on this machine; empty where they are not.
#[derive(Debug, Clone, Default)]
pub struct ReplicaProcesses {
    /// Of order, in the order of their addresses.
    pub orders: Vec<ReplicaProcess>,
    /// Of inventory, likewise.
    pub inventory: Vec<ReplicaProcess>,
}

impl ReplicaProcesses {
    /// Continues all of them: nobody is audited while stopped.
    pub fn resume_all(&self) {
        self.orders.iter().chain(&self.inventory).for_each(ReplicaProcess::resume);
    }
}
