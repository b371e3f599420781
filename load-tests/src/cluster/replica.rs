//! One replica of a service: a child process that can be killed and comes back at the same address.
//!
//! Invariant: the address is the same for life; whoever asks for the process gets the one that runs now.
//! Absence: nothing here knows which service it is.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::Context as _;
use rustix::process::{Pid, Signal, kill_process};
use testbed::{Process, ProcessSpec};

const READY_WITHIN: Duration = Duration::from_secs(30);
const END_WITHIN: Duration = Duration::from_secs(5);

/// A replica that runs, or is down for a moment.
#[derive(Debug)]
pub struct Replica {
    spec: ProcessSpec,
    url: String,
    process: Mutex<Arc<Process>>,
}

impl Replica {
    /// Starts it on a free port; `listen` is the variable that tells it where, and where it comes back.
    ///
    /// # Errors
    /// It did not come up; the chain ends with its log.
    ///
    /// # Cancel safety: what was started is ended.
    pub async fn start(mut spec: ProcessSpec, listen: &str) -> anyhow::Result<Self> {
        let anywhere = (listen.to_owned(), "127.0.0.1:0".to_owned());
        let first = ProcessSpec { envs: [spec.envs.clone(), vec![anywhere]].concat(), ..spec.clone() };
        let (process, url) = started(first).await?;
        let addr = url.strip_prefix("http://").context("a service tells its address as http://ADDR")?.to_owned();
        spec.envs.push((listen.to_owned(), addr));
        Ok(Self { spec, url, process: Mutex::new(Arc::new(process)) })
    }

    /// `order-1` and the like.
    pub fn name(&self) -> &str {
        &self.spec.name
    }

    /// Where it is reached.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// The process that runs now, or the last one that did.
    pub fn process(&self) -> Arc<Process> {
        Arc::clone(&self.process.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// SIGKILL; returns when the kernel says that it is gone.
    ///
    /// # Errors
    /// The kernel does not let it be watched.
    pub async fn kill(&self) -> anyhow::Result<()> {
        let process = self.process();
        if let Some(pid) = i32::try_from(process.pid()).ok().and_then(Pid::from_raw) {
            // Not reaped before its last `Arc` is gone, so the number is still its own.
            let _ = kill_process(pid, Signal::KILL);
        }
        process.until_ended().await.with_context(|| format!("{} could not be watched", self.name()))
    }

    /// Starts it again where it was.
    ///
    /// # Errors
    /// It did not come up; the chain ends with its log.
    pub async fn restart(&self) -> anyhow::Result<()> {
        let (process, url) = started(self.spec.clone()).await?;
        anyhow::ensure!(url == self.url, "{} came back at {url}, it was at {}", self.name(), self.url);
        *self.process.lock().unwrap_or_else(PoisonError::into_inner) = Arc::new(process);
        Ok(())
    }

    /// SIGTERM, and SIGKILL where that was not enough.
    pub async fn end(&self) {
        let process = self.process();
        if let Some(pid) = i32::try_from(process.pid()).ok().and_then(Pid::from_raw).filter(|_| !process.ended()) {
            process.resume();
            let _ = kill_process(pid, Signal::TERM);
            // Whatever is left is killed when the last `Arc` goes.
            let _ = tokio::time::timeout(END_WITHIN, process.until_ended()).await;
        }
    }
}

async fn started(spec: ProcessSpec) -> anyhow::Result<(Process, String)> {
    let mut process = Process::spawn(spec)?;
    let url = process.first_line(READY_WITHIN).await?;
    Ok((process, url))
}
