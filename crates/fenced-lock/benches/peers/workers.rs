//! Worker processes of a case: this same program with a specification. They connect, report that they are ready,
//! start together, and send what they measured.

use std::time::Duration;

use anyhow::{Context as _, Result};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use testbed::{Folder, Process, ProcessSpec};
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{TcpListener, TcpStream};

use crate::subject::Subject;

/// How long starting, connecting and warming up may take.
const START: Duration = Duration::from_mins(1);

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct WorkerSpec {
    pub(crate) subject: Subject,
    pub(crate) urls: Vec<String>,
    pub(crate) task: Task,
}

#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(crate) enum Task {
    Contend { during: Duration },
    Idle { waiters: usize },
}

/// Worker processes that are ready to start.
pub(crate) struct Workers {
    connections: Vec<BufReader<TcpStream>>,
    _processes: Vec<Process>,
    _folder: Folder,
}

impl Workers {
    pub(crate) async fn start(specs: &[WorkerSpec]) -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let coordinator = listener.local_addr()?;
        let folder = Folder::new("peers")?;
        let mut processes = Vec::new();
        for (number, spec) in specs.iter().enumerate() {
            processes.push(Process::spawn(ProcessSpec {
                name: format!("{} {number}", spec.subject.name()),
                program: std::env::current_exe()?,
                args: vec!["--worker".into(), serde_json::to_string(&(coordinator, spec))?.into()],
                envs: Vec::new(),
                log: folder.path().join(format!("{number}.log")),
            })?);
        }
        let ready = async {
            let mut connections = Vec::new();
            for _ in specs {
                let mut connection = BufReader::new(listener.accept().await?.0);
                connection.read_line(&mut String::new()).await?;
                connections.push(connection);
            }
            anyhow::Ok(connections)
        };
        let connections = tokio::time::timeout(START, ready).await;
        let logs = || processes.iter().map(|process| process.log_tail(5)).collect::<String>();
        let connections =
            connections.with_context(|| format!("a worker process did not start within a minute: {}", logs()))??;
        Ok(Self { connections, _processes: processes, _folder: folder })
    }

    /// Starts all of them at once. Returns what each of them measured.
    pub(crate) async fn run<S: DeserializeOwned>(&mut self) -> Result<Vec<S>> {
        for connection in &mut self.connections {
            connection.get_mut().write_all(b"go\n").await?;
        }
        let mut reports = Vec::new();
        for connection in &mut self.connections {
            let mut line = String::new();
            connection.read_line(&mut line).await?;
            reports.push(serde_json::from_str(&line).context("the report of a worker process")?);
        }
        Ok(reports)
    }
}
