//! One replica of a service: a child process that can be killed and restarted at the same address.
//!
//! Invariant: the address never changes; `process` returns the current process.
//! Absence: nothing here depends on which service it is.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::Context as _;
use rustix::process::{Pid, Signal, kill_process};
use testbed::{Process, ProcessSpec};

const READY_WITHIN: Duration = Duration::from_secs(30);
const END_WITHIN: Duration = Duration::from_secs(5);

/// A replica, running or between a kill and a restart.
#[derive(Debug)]
pub struct Replica {
    spec: ProcessSpec,
    url: String,
    process: Mutex<Arc<Process>>,
}

impl Replica {
    /// Starts it on a free port; `listen` is the environment variable of its address.
    ///
    /// # Errors
    /// It did not start; the error chain ends with its log.
    ///
    /// # Cancel safety: a process already started is ended.
    pub async fn start(mut spec: ProcessSpec, listen: &str) -> anyhow::Result<Self> {
        let addr = testbed::free_port().context("no port is free")?;
        spec.envs.push((listen.to_owned(), addr.to_string()));
        let (process, url) = started(spec.clone()).await?;
        Ok(Self { spec, url, process: Mutex::new(Arc::new(process)) })
    }

    /// Its name: `order-1`, `inventory-2`.
    pub fn name(&self) -> &str {
        &self.spec.name
    }

    /// Its base URL.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// The process that runs now, or the last one before a kill.
    pub fn process(&self) -> Arc<Process> {
        Arc::clone(&self.process.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// SIGKILL; returns when the process has ended.
    ///
    /// # Errors
    /// The process could not be waited for.
    pub async fn kill(&self) -> anyhow::Result<()> {
        let process = self.process();
        if let Some(pid) = i32::try_from(process.pid()).ok().and_then(Pid::from_raw) {
            // It is not reaped before its last `Arc` is dropped, so no other process has this id.
            let _ = kill_process(pid, Signal::KILL);
        }
        process.until_ended().await.with_context(|| format!("{} could not be waited for", self.name()))
    }

    /// Starts it again at the same address.
    ///
    /// # Errors
    /// It did not start; the error chain ends with its log.
    pub async fn restart(&self) -> anyhow::Result<()> {
        let (process, url) = started(self.spec.clone()).await?;
        anyhow::ensure!(url == self.url, "{} restarted at {url} instead of {}", self.name(), self.url);
        *self.process.lock().unwrap_or_else(PoisonError::into_inner) = Arc::new(process);
        Ok(())
    }

    /// SIGTERM; SIGKILL if it has not ended after 5 s.
    pub async fn end(&self) {
        let process = self.process();
        if let Some(pid) = i32::try_from(process.pid()).ok().and_then(Pid::from_raw).filter(|_| !process.ended()) {
            process.resume();
            let _ = kill_process(pid, Signal::TERM);
            // A process that is left is killed when its last `Arc` is dropped.
            let _ = tokio::time::timeout(END_WITHIN, process.until_ended()).await;
        }
    }
}

async fn started(spec: ProcessSpec) -> anyhow::Result<(Process, String)> {
    let mut process = Process::spawn(spec)?;
    let url = process.first_line(READY_WITHIN).await?;
    Ok((process, url))
}
