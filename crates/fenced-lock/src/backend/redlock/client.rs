//! The lock nodes and everything that the callers of one client share: its name, the waiters, the cleanup.
//! All nodes are asked and their votes counted here. Absence: nothing about a single acquisition.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use redis::{Cmd, Value};
use tokio::runtime::Handle;

use super::cleanup::CleanupQueue;
use super::independence::Independence;
use super::node::{CONNECT_TIMEOUT, Node, Reply};
use super::node_set::NodeSet;
use super::round::Round;
use super::scripts::{self, Keys, WaiterId, Wake};
use super::tally::{Decision, Tally, quorum};
use super::waiter_registry::WaiterRegistry;
use crate::backend::node_errors;
use crate::backend::owner_names::OwnerNames;
use crate::{FailureKind, LockError, NodeError, NodeUrl, Options, UnsuitableNode};

#[derive(Debug)]
pub(super) struct RedlockClient {
    pub(super) nodes: Vec<Arc<Node>>,
    pub(super) node_timeout: Duration,
    pub(super) counter_ttl: Duration,
    pub(super) owners: OwnerNames,
    pub(super) registry: Arc<WaiterRegistry>,
    independence: Arc<Independence>,
    pub(super) cleanup: CleanupQueue,
}

/// The meaning of one node's answer.
#[derive(Clone, Copy, Debug)]
pub(super) enum Vote {
    Yes,
    No,
    /// The command was sent twice, and the answer belongs to the second time.
    Ambiguous,
    Malformed,
}

impl Vote {
    /// For scripts that answer 1 or 0, and may be executed twice without harm.
    pub(super) fn one_or_zero(reply: &Reply) -> Self {
        match reply.value {
            Value::Int(1) => Self::Yes,
            Value::Int(0) => Self::No,
            _ => Self::Malformed,
        }
    }
}

/// The decision of a quorum, and the calls that were still unanswered then.
pub(super) struct QuorumReply {
    pub(super) outcome: Result<bool, LockError>,
    pub(super) unanswered: Round,
}

#[derive(Debug, thiserror::Error)]
#[error("the connection broke before the answer arrived")]
struct AnswerLost;

#[derive(Debug, thiserror::Error)]
#[error("unexpected answer {0}")]
struct UnexpectedAnswer(String);

impl RedlockClient {
    pub(super) fn new(urls: impl IntoIterator<Item = NodeUrl>, options: &Options) -> Arc<Self> {
        let owners = OwnerNames::new(options.client_name());
        let registry = Arc::new(WaiterRegistry::default());
        let urls: Vec<_> = urls.into_iter().collect();
        let independence = Arc::new(Independence::new(urls.iter().map(|url| url.name().into()).collect()));
        let node = |(index, url)| Node::new(index, url, options, owners.client_id(), &registry, &independence);
        Arc::new(Self {
            nodes: urls.iter().enumerate().map(node).collect(),
            independence,
            node_timeout: options.node_timeout(),
            counter_ttl: options.counter_ttl(),
            owners,
            registry,
            cleanup: CleanupQueue::default(),
        })
    }

    /// The quorum of the configured nodes.
    pub(super) fn quorum(&self) -> usize {
        quorum(self.nodes.len())
    }

    /// Sends `cmd` to all nodes and returns once a quorum has executed it.
    pub(super) async fn execute_on_quorum(&self, cmd: &Arc<Cmd>) -> Result<(), LockError> {
        let round = Round::send(&self.nodes, NodeSet::ALL, cmd);
        let reply = self.collect_votes(round, self.node_timeout, |_| Vote::Yes).await;
        // The other nodes execute it too.
        self.cleanup.finish_detached(reply.unanswered, &Handle::current());
        reply.outcome.map(|_| ())
    }

    /// Connects to every node; each that answers is examined.
    pub(super) async fn check_nodes(&self) -> Result<(), UnsuitableNode> {
        let connecting = join_all(self.nodes.iter().map(Node::connect));
        // Nodes that do not answer are examined once they do.
        let _ = tokio::time::timeout(CONNECT_TIMEOUT, connecting).await;
        self.independence.first_flaw().map_or(Ok(()), Err)
    }

    /// Reads answers until a quorum votes yes or cannot any more.
    pub(super) async fn collect_votes(
        &self,
        mut round: Round,
        limit: Duration,
        interpret: impl Fn(&Reply) -> Vote,
    ) -> QuorumReply {
        let alarm = tokio::time::sleep(limit);
        tokio::pin!(alarm);
        let mut tally = Tally::new(self.nodes.len());
        let mut errors = Vec::new();
        let outcome = loop {
            match tally.decision() {
                Decision::Undecided => {}
                Decision::Yes => break Ok(true),
                Decision::No => break Ok(false),
                Decision::Unavailable => break Err(self.unavailable(&tally, std::mem::take(&mut errors))),
            }
            let Some((index, answer)) = round.next(alarm.as_mut()).await else {
                errors.extend(round.timed_out());
                break Err(self.unavailable(&tally, std::mem::take(&mut errors)));
            };
            match answer.and_then(|reply| self.yes_or_no(index, interpret(&reply), &reply)) {
                Ok(true) => tally.yes(),
                Ok(false) => tally.no(),
                Err(error) => {
                    tally.failed();
                    errors.push(error);
                }
            }
        };
        node_errors::record(&errors);
        QuorumReply { outcome, unanswered: round }
    }

    fn yes_or_no(&self, index: usize, vote: Vote, reply: &Reply) -> Result<bool, NodeError> {
        match vote {
            Vote::Yes => Ok(true),
            Vote::No => Ok(false),
            Vote::Ambiguous => Err(self.nodes[index].failed(FailureKind::Gone, AnswerLost)),
            Vote::Malformed => Err(self.unexpected(index, reply)),
        }
    }

    pub(super) fn unexpected(&self, index: usize, reply: &Reply) -> NodeError {
        let answer = UnexpectedAnswer(format!("{:?}", reply.value));
        self.nodes[index].failed(FailureKind::WrongAnswer, answer)
    }

    pub(super) fn unavailable(&self, tally: &Tally, nodes: Vec<NodeError>) -> LockError {
        node_errors::record(&nodes);
        let of = self.nodes.len();
        LockError::QuorumUnavailable { needed: self.quorum(), answered: tally.answered(), of, nodes }
    }

    /// Releases on `nodes` in a detached task. May be called from a destructor.
    pub(super) fn release_detached(
        &self,
        nodes: NodeSet,
        keys: &Keys,
        owner: &str,
        waiter: Option<&WaiterId>,
        runtime: &Handle,
    ) {
        if nodes.is_empty() {
            return;
        }
        let _entered = runtime.enter();
        let round = Round::send(&self.nodes, nodes, &scripts::release(keys, owner, waiter, Wake::Next));
        self.cleanup.finish_detached(round, runtime);
    }

    /// The nodes with a connection: a command is sent to them when its call is polled first, in the order of
    /// polling.
    pub(super) fn connected(&self) -> NodeSet {
        let connected = self.nodes.iter().enumerate().filter(|(_, node)| node.is_connected());
        connected.fold(NodeSet::NONE, |set, (index, _)| set.with(index))
    }
}
