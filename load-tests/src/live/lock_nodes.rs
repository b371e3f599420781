//! What the page does to the lock nodes: each is killed, paused, wiped, slow or cut off, and healed again.
//!
//! Invariant: only faults that can be had here are offered. A process is killed, and a connection slow or cut, only where
//! this program started them; a node is paused and wiped by its own commands, wherever it runs.
//! Absence: which node has which fault is the state of the stage.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use testbed::{Proxy, TestbedError, redis_command};

use super::refusal::{Refusal, refuse};
use crate::cluster::servers::Servers;
use crate::runner::environment::Environment;

/// How much later a slow node answers.
const SLOW_BY: Duration = Duration::from_millis(300);
/// A paused node that nobody heals goes on by itself after ten minutes: the page may have been killed.
const LONGEST_PAUSE_MS: &str = "600000";

/// What can be done to a lock node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum NodeFault {
    /// Its process is killed.
    Kill,
    /// It answers no request that writes, and so grants no lock; what it was sent meanwhile is done later.
    Pause,
    /// All its keys are deleted, as by a restart without persistence.
    Wipe,
    /// It answers late.
    Slow,
    /// Nothing reaches it, and nothing comes back.
    Cut,
    /// None: it is as it was; started empty, if it was killed.
    Heal,
}

/// The lock nodes of a stack.
#[derive(Debug, Clone)]
pub(super) struct LockNodes<'a> {
    /// Past the proxies, first `redis-1`.
    pub(super) urls: &'a [String],
    servers: Option<&'a Servers>,
}

impl<'a> LockNodes<'a> {
    pub(super) fn of(environment: &'a Environment<'_>) -> Self {
        Self { urls: &environment.lock_nodes, servers: environment.servers }
    }

    /// The faults that each node can have here.
    pub(super) fn faults(&self) -> &'static [NodeFault] {
        use NodeFault::{Cut, Heal, Kill, Pause, Slow, Wipe};
        match self.servers {
            _ if self.urls.is_empty() => &[],
            None => &[Pause, Wipe, Heal],
            Some(servers) if servers.proxies.is_none() => &[Kill, Pause, Wipe, Heal],
            Some(_) => &[Kill, Pause, Wipe, Slow, Cut, Heal],
        }
    }

    /// The index of the node that the page calls by this number.
    pub(super) fn index(&self, number: usize) -> Result<usize, Refusal> {
        let nodes = self.urls.len();
        match number.checked_sub(1).filter(|index| *index < nodes) {
            Some(index) => Ok(index),
            None if nodes == 0 => not_known(),
            None => refuse("no_such_node", &format!("there is no lock node {number}; they are 1 to {nodes}")),
        }
    }

    /// Does this to the node `index`, which has the fault `now`; returns the fault that it has afterwards.
    pub(super) async fn act(
        &self,
        index: usize,
        now: Option<NodeFault>,
        fault: NodeFault,
    ) -> Result<Option<NodeFault>, Refusal> {
        let url = &self.urls[index];
        if !self.faults().contains(&fault) {
            return refuse(
                "not_available",
                "the lock nodes were not started by this program, so it can only pause and wipe them",
            );
        }
        let failed =
            |error: TestbedError| Refusal { code: "node_failed", detail: format!("{}: {error}", node_name(index)) };
        let down = now == Some(NodeFault::Kill);
        if down && fault != NodeFault::Kill && fault != NodeFault::Heal {
            return refuse("node_down", &format!("{} is down; start it first", node_name(index)));
        }
        if fault == NodeFault::Wipe {
            redis_command(url, &["FLUSHALL"]).await.map_err(failed)?;
            // What else is wrong with it remains.
            return Ok(now);
        }
        self.heal(index, now).await.map_err(failed)?;
        match (fault, self.server(index)) {
            (NodeFault::Kill, Some((servers, _))) => servers.redis[index].lock().await.kill().await,
            (NodeFault::Slow, Some((_, Some(proxy)))) => proxy.set_latency(SLOW_BY),
            (NodeFault::Cut, Some((_, Some(proxy)))) => silence(proxy),
            (NodeFault::Pause, _) => pause(url).await.map_err(failed)?,
            _ => return Ok(None),
        }
        Ok(Some(fault))
    }

    /// Undoes the fault.
    pub(super) async fn heal(&self, index: usize, fault: Option<NodeFault>) -> Result<(), TestbedError> {
        match (fault, self.server(index)) {
            (Some(NodeFault::Kill), Some((servers, _))) => servers.redis[index].lock().await.restart().await,
            (Some(NodeFault::Slow | NodeFault::Cut), Some((_, Some(proxy)))) => {
                proxy.heal();
                Ok(())
            }
            (Some(NodeFault::Pause), _) => redis_command(&self.urls[index], &["CLIENT", "UNPAUSE"]).await.map(drop),
            _ => Ok(()),
        }
    }

    fn server(&self, index: usize) -> Option<(&'a Servers, Option<&'a Proxy>)> {
        let servers = self.servers?;
        Some((servers, servers.proxies.as_ref().and_then(|proxies| proxies.redis.get(index))))
    }
}

pub(super) fn not_known<T>() -> Result<T, Refusal> {
    refuse("not_available", "the lock nodes of this stack are not known, so none can be broken")
}

/// Undoes these faults, each of the node with this name; says which cannot be undone.
pub(super) async fn heal_all(environment: &Environment<'_>, faults: &BTreeMap<String, NodeFault>) {
    let nodes = LockNodes::of(environment);
    for index in 0..nodes.urls.len() {
        let (name, fault) = (node_name(index), faults.get(&node_name(index)).copied());
        if let Err(error) = nodes.heal(index, fault).await {
            tracing::warn!("{name} keeps its fault: {error}");
        }
    }
}

/// Only what writes is stopped: a node that is stopped altogether would not take the command that ends the pause.
async fn pause(url: &str) -> Result<(), TestbedError> {
    redis_command(url, &["CLIENT", "PAUSE", LONGEST_PAUSE_MS, "WRITE"]).await.map(drop)
}

/// As a network that loses every packet: nobody is told.
fn silence(proxy: &Proxy) {
    proxy.drop_to_upstream(true);
    proxy.drop_to_client(true);
}

/// `redis-1` is the first.
pub(super) fn node_name(index: usize) -> String {
    format!("redis-{}", index + 1)
}
