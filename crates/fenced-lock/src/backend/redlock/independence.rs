//! Whether the nodes are independent servers that can vote. Each connection examines its node before it is used; the
//! votes of a node that cannot vote are not counted.
//!
//! A client subscribes to a channel of its own for each configured node. One server under two names has both
//! subscriptions, and tells so when a message is published. No user needs another right for that, nothing is stored on
//! the node, and a server that was restarted or replaced is recognised as it is now.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use redis::aio::MultiplexedConnection;
use redis::{ErrorKind, FromRedisValue as _, RedisError, ServerErrorKind, Value};

use super::node_set::NodeSet;
use super::scripts;
use crate::UnsuitableNode;

#[derive(Debug)]
pub(super) struct Independence {
    names: Vec<Arc<str>>,
    flaws: Mutex<Flaws>,
}

#[derive(Debug, Default)]
struct Flaws {
    present: Vec<(NodeSet, UnsuitableNode)>,
    /// An operator reads each once, however often the node is connected to.
    logged: Vec<UnsuitableNode>,
}

impl Independence {
    pub(super) fn new(names: Vec<Arc<str>>) -> Self {
        Self { names, flaws: Mutex::default() }
    }

    /// A connection to node `index` is about to be made: what an earlier one found no longer counts.
    pub(super) fn forget(&self, index: usize) {
        self.flaws().present.retain(|(nodes, _)| !nodes.contains(index));
    }

    /// An error unless the votes of node `index` count.
    pub(super) fn check_vote(&self, index: usize) -> Result<(), UnsuitableNode> {
        let mut flaws = self.flaws();
        let Some((_, flaw)) = flaws.present.iter().find(|(nodes, _)| nodes.contains(index)) else {
            return Ok(());
        };
        let flaw = flaw.clone();
        if !flaws.logged.contains(&flaw) {
            tracing::warn!("{flaw}; its votes are not counted");
            flaws.logged.push(flaw.clone());
        }
        Err(flaw)
    }

    pub(super) fn first_flaw(&self) -> Option<UnsuitableNode> {
        self.flaws().present.first().map(|(_, flaw)| flaw.clone())
    }

    /// Examines node `index` over its new connection, before it is used. Of two connections to one server, the one that
    /// subscribed later finds the other.
    pub(super) async fn examine(
        &self,
        index: usize,
        client_id: &str,
        connection: &mut MultiplexedConnection,
    ) -> Result<(), RedisError> {
        let mut ask = redis::pipe();
        ask.cmd("HELLO");
        let others: Vec<_> = (0..self.names.len()).filter(|other| *other != index).collect();
        for &other in &others {
            ask.cmd("PUBLISH").arg(scripts::node_channel(client_id, other)).arg("");
        }
        let answers: Vec<Value> = ask.query_async(connection).await?;
        let Some((hello, subscribers)) = answers.split_first() else { return Ok(()) };
        for (&other, subscribers) in others.iter().zip(subscribers) {
            if *subscribers != Value::Int(0) {
                let [first, second] = [index.min(other), index.max(other)].map(|node| Arc::clone(&self.names[node]));
                self.record(NodeSet::NONE.with(index).with(other), UnsuitableNode::SameServer { first, second });
            }
        }
        if property(hello, "mode").as_deref() == Some("cluster") {
            self.examine_cluster(index, hello, connection).await?;
        }
        Ok(())
    }

    async fn examine_cluster(
        &self,
        index: usize,
        hello: &Value,
        connection: &mut MultiplexedConnection,
    ) -> Result<(), RedisError> {
        let node = Arc::clone(&self.names[index]);
        if property(hello, "role").as_deref() != Some("master") {
            self.record(NodeSet::NONE.with(index), UnsuitableNode::Replica { node });
            return Ok(());
        }
        match redis::cmd("CLUSTER").arg("INFO").query_async::<String>(connection).await {
            Ok(info) => {
                let has = |line: &str| info.lines().any(|found| found.trim_end() == line);
                if !(has("cluster_size:1") && has("cluster_slots_assigned:16384")) {
                    self.record(NodeSet::NONE.with(index), UnsuitableNode::Shard { node });
                }
                Ok(())
            }
            // The user may not ask. A shard still answers MOVED for every lock that it does not have.
            Err(error) if error.kind() == ErrorKind::Server(ServerErrorKind::NoPerm) => Ok(()),
            Err(error) => Err(error),
        }
    }

    fn record(&self, nodes: NodeSet, flaw: UnsuitableNode) {
        let mut flaws = self.flaws();
        if !flaws.present.iter().any(|(_, present)| *present == flaw) {
            flaws.present.push((nodes, flaw));
        }
    }

    fn flaws(&self) -> MutexGuard<'_, Flaws> {
        self.flaws.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn property(hello: &Value, name: &str) -> Option<String> {
    let pairs = hello.as_map_iter()?;
    let named = pairs.filter(|(key, _)| String::from_redis_value_ref(key).is_ok_and(|key| key == name));
    named.map(|(_, value)| String::from_redis_value_ref(value).ok()).next()?
}
