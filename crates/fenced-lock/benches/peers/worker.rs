//! The worker process: connects, reports that it is ready, waits for the start, and sends what it measured.

use anyhow::Result;
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::TcpStream;

use crate::workers::{Task, WorkerSpec};
use crate::{idle_waiters, one_key};

/// `argument` is what [`crate::workers`] passed on the command line.
pub(crate) async fn run(argument: &str) -> Result<()> {
    let (coordinator, spec): (std::net::SocketAddr, WorkerSpec) = serde_json::from_str(argument)?;
    let client = spec.subject.connect(&spec.urls).await?;
    let mut connection = BufReader::new(TcpStream::connect(coordinator).await?);
    connection.get_mut().write_all(b"ready\n").await?;
    connection.read_line(&mut String::new()).await?;
    let report = match spec.task {
        Task::Contend { during } => serde_json::to_string(&one_key::contend(client, during).await?)?,
        Task::Idle { waiters } => serde_json::to_string(&idle_waiters::measure_memory(client, waiters).await?)?,
    };
    connection.get_mut().write_all(report.as_bytes()).await?;
    connection.get_mut().write_all(b"\n").await?;
    Ok(())
}
