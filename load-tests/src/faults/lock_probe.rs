//! How a fault is seen to strike: silence on a line, locks at a node; and lines that heal when nobody breaks them any more.

use std::net::SocketAddr;
use std::time::Duration;

use testbed::{Proxy, RedisNode, TestbedError};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};

use super::FaultContext;
use crate::cluster::lab_client::LabClient;
use crate::cluster::process::ReplicaProcess;
use crate::scenario::plan::Injection;

/// Between two looks at what belongs to other processes; there is no event to wait for.
pub(super) const LOOK_AGAIN: Duration = Duration::from_millis(5);
/// A write of an armed SKU should have come by then; if none did, another SKU may do better.
const STOPS_WITHIN: Duration = Duration::from_secs(3);

/// A lock that somebody holds at a node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct HeldLock {
    /// Of which SKU.
    pub(super) sku: String,
    /// Owner, token, expiry: different for every grant.
    pub(super) value: String,
}

/// The locks of this context's SKUs that the node knows of.
pub(super) async fn locks_held(context: &FaultContext<'_>, node: &RedisNode) -> Result<Vec<HeldLock>, TestbedError> {
    let skus: Vec<&String> = context.targets.iter().flat_map(|target| &target.skus).collect();
    let keys: Vec<String> = skus.iter().map(|sku| format!("lock:sku:{sku}")).collect();
    let command: Vec<&str> = std::iter::once("MGET").chain(keys.iter().map(String::as_str)).collect();
    let values = node.command(&command).await?;
    let held = |(sku, value): (&&String, &str)| {
        (!value.is_empty()).then(|| HeldLock { sku: (*sku).clone(), value: value.to_owned() })
    };
    // One line a key; nothing is an empty one.
    Ok(skus.iter().zip(values.split('\n')).filter_map(held).collect())
}

/// Whether whoever listens there leaves a question unanswered for so long. A refused connection is an answer.
pub(super) async fn silent(addr: SocketAddr, question: &[u8], within: Duration) -> bool {
    let ask = async {
        let mut stream = TcpStream::connect(addr).await?;
        stream.write_all(question).await?;
        stream.read_u8().await
    };
    timeout(within, ask).await.is_err()
}

/// Arms a replica, and waits until it has stopped itself. `false`: no write of this SKU came, it is disarmed, and it runs.
pub(super) async fn stops_itself(
    context: &FaultContext<'_>,
    service: &LabClient,
    replica: usize,
    control: &ReplicaProcess,
    sku: &str,
) -> anyhow::Result<bool> {
    service.arm(replica, sku).await?;
    tokio::select! {
        stopped = control.stopped() => return stopped.map(|()| true),
        () = context.ended() => {}
        () = sleep(STOPS_WITHIN) => {}
    }
    // It may stop at this very moment; then it does not answer, and has stopped.
    tokio::select! {
        disarmed = service.disarm(replica) => disarmed.map(|()| false),
        stopped = control.stopped() => stopped.map(|()| true),
    }
}

/// Lines that are broken until this is dropped.
#[derive(Debug)]
pub(super) struct Broken<'a> {
    lines: Vec<&'a Proxy>,
    what: &'static str,
}

impl<'a> Broken<'a> {
    /// What is asked, what is answered, or both, as the number of the strike has it.
    pub(super) fn one_way_or_both(injection: &Injection, lines: Vec<&'a Proxy>) -> Self {
        let (asked, answered, what) = match injection.number % 3 {
            0 => (true, true, "both ways"),
            1 => (true, false, "what is asked"),
            _ => (false, true, "what is answered"),
        };
        for line in &lines {
            line.drop_to_upstream(asked);
            line.drop_to_client(answered);
        }
        Self { lines, what }
    }

    pub(super) fn what(&self) -> &'static str {
        self.what
    }

    pub(super) fn lines(&self) -> impl Iterator<Item = &Proxy> {
        self.lines.iter().copied()
    }
}

impl Drop for Broken<'_> {
    fn drop(&mut self) {
        for line in &self.lines {
            line.drop_to_upstream(false);
            line.drop_to_client(false);
        }
    }
}
