//! Processes of their own for a case: this same program with an errand. They connect, say that they
//! are ready, begin together when told to, and send what they saw.

use std::time::Duration;

use anyhow::{Context as _, Result};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use testbed::{Folder, Process, ProcessSpec};
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{TcpListener, TcpStream};

use crate::subject::Subject;
use crate::{contended, idle};

/// How long starting, connecting and warming up may take.
const START: Duration = Duration::from_mins(1);

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Errand {
    pub(crate) subject: Subject,
    pub(crate) urls: Vec<String>,
    pub(crate) task: Task,
}

#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(crate) enum Task {
    Contend { during: Duration },
    Idle { waiters: usize },
}

/// Processes that are ready.
pub(crate) struct Team {
    wires: Vec<BufReader<TcpStream>>,
    _processes: Vec<Process>,
    _folder: Folder,
}

impl Team {
    pub(crate) async fn start(errands: &[Errand]) -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let boss = listener.local_addr()?;
        let folder = Folder::new("peers")?;
        let mut processes = Vec::new();
        for (number, errand) in errands.iter().enumerate() {
            processes.push(Process::spawn(ProcessSpec {
                name: format!("{} {number}", errand.subject.name()),
                program: std::env::current_exe()?,
                args: vec!["--errand".into(), serde_json::to_string(&(boss, errand))?.into()],
                envs: Vec::new(),
                log: folder.path().join(format!("{number}.log")),
            })?);
        }
        let ready = async {
            let mut wires = Vec::new();
            for _ in errands {
                let mut wire = BufReader::new(listener.accept().await?.0);
                wire.read_line(&mut String::new()).await?;
                wires.push(wire);
            }
            anyhow::Ok(wires)
        };
        let wires = tokio::time::timeout(START, ready).await;
        let logs = || processes.iter().map(|process| process.log_tail(5)).collect::<String>();
        let wires = wires.with_context(|| format!("a process did not get ready: {}", logs()))??;
        Ok(Self { wires, _processes: processes, _folder: folder })
    }

    /// All begin at once; what each of them saw.
    pub(crate) async fn work<S: DeserializeOwned>(&mut self) -> Result<Vec<S>> {
        for wire in &mut self.wires {
            wire.get_mut().write_all(b"go\n").await?;
        }
        let mut seen = Vec::new();
        for wire in &mut self.wires {
            let mut line = String::new();
            wire.read_line(&mut line).await?;
            seen.push(serde_json::from_str(&line).context("what a process saw")?);
        }
        Ok(seen)
    }
}

/// The other end: does the errand and ends.
pub(crate) async fn run(errand: &str) -> Result<()> {
    let (boss, errand): (std::net::SocketAddr, Errand) = serde_json::from_str(errand)?;
    let client = errand.subject.connect(&errand.urls).await?;
    let mut wire = BufReader::new(TcpStream::connect(boss).await?);
    wire.get_mut().write_all(b"ready\n").await?;
    wire.read_line(&mut String::new()).await?;
    let seen = match errand.task {
        Task::Contend { during } => serde_json::to_string(&contended::contend(client, during).await?)?,
        Task::Idle { waiters } => serde_json::to_string(&idle::wait_around(client, waiters).await?)?,
    };
    wire.get_mut().write_all(seen.as_bytes()).await?;
    wire.get_mut().write_all(b"\n").await?;
    Ok(())
}
