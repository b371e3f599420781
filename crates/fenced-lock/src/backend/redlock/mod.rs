//! Redlock: a lock is had when a quorum of independent nodes grants it, within its lease.
//!
//! This file is the protocol as seen from one caller: try, and if somebody else has it, wait and
//! try again; whatever the outcome, leave nothing behind. What nodes are asked is in `scripts`,
//! how they are reached in `node` and `round`.
//!
//! Source: Redis documentation, "Distributed Locks with Redis".

mod attempt;
mod cleanup;
mod holder;
mod node;
mod quorum_lock;
mod round;
mod scripts;
mod tally;
mod waiter_registry;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use redis::{Cmd, Value};
use tokio::runtime::Handle;
use tokio::time::Instant;

use self::attempt::{Attempt, AttemptOutcome};
use self::cleanup::CleanupQueue;
use self::node::{Node, Reply};
pub(crate) use self::quorum_lock::QuorumLock;
use self::quorum_lock::StragglerCalls;
use self::round::{NodeSet, Round};
use self::scripts::{Keys, WaiterId, Wake};
use self::tally::{Decision, Tally, earliest_free, quorum};
use self::waiter_registry::{Registration, WaiterRegistry};
use crate::grant::Acquired;
use crate::locks::Request;
use crate::{LockError, NodeError, NodeUrl, Nodes, Options, Resource, Token, metrics};

/// The longest a waiter sleeps before it asks again, and reminds the nodes that it waits.
const LONGEST_SLEEP: Duration = Duration::from_mins(1);

/// The nodes and everything that callers share.
#[derive(Debug)]
pub(crate) struct Redlock {
    nodes: Vec<Arc<Node>>,
    node_timeout: Duration,
    counter_ttl: Duration,
    /// Unique to this client; owners and waiters are numbered after it.
    client_id: Arc<str>,
    next_number: AtomicU64,
    registry: Arc<WaiterRegistry>,
    cleanup: CleanupQueue,
}

impl Redlock {
    pub(crate) fn new(nodes: Nodes, options: &Options) -> Arc<Self> {
        Self::of(nodes.into_inner(), options)
    }

    /// `urls` must be an odd number of different nodes.
    pub(crate) fn of(urls: Vec<NodeUrl>, options: &Options) -> Arc<Self> {
        let client_id: Arc<str> = format!("{}.{}", options.client_name(), uuid::Uuid::now_v7().simple()).into();
        let registry = Arc::new(WaiterRegistry::default());
        let node = |(index, url)| Node::new(index, url, options, &client_id, &registry);
        Arc::new(Self {
            nodes: urls.iter().enumerate().map(node).collect(),
            node_timeout: options.node_timeout(),
            counter_ttl: options.counter_ttl(),
            next_number: AtomicU64::new(1),
            client_id,
            registry,
            cleanup: CleanupQueue::default(),
        })
    }

    /// Tries until granted, or until the deadline while somebody else has it.
    ///
    /// Who did not have to queue in this process most likely finds the lock free, so the nodes are
    /// asked without registering as waiting: that makes what they execute a third cheaper.
    pub(crate) async fn acquire(
        self: &Arc<Self>,
        request: &Request,
        queued: bool,
    ) -> Result<Option<Acquired>, LockError> {
        let keys = Arc::new(Keys::of(&request.resources));
        let mut waiting = (request.waits && queued).then(|| Waiter::new(self, request, &keys));
        loop {
            let owner: Arc<str> = format!("{}.{}", self.client_id, self.number()).into();
            let attempt = Attempt::new(self, &keys, owner, request, waiting.as_mut());
            let contention = match attempt.run().await {
                Ok(AttemptOutcome::Granted(acquired)) => {
                    if let Some(waiting) = &mut waiting {
                        waiting.succeeded();
                    }
                    return Ok(Some(acquired));
                }
                Ok(AttemptOutcome::Contended(contention)) => contention,
                Err(LockError::Lapsed { .. }) if Instant::now() < request.deadline => continue,
                Err(error) => return Err(error),
            };
            if !request.waits {
                return Ok(None);
            }
            let Some(waiting) = &mut waiting else {
                waiting = Some(Waiter::new(self, request, &keys));
                continue;
            };
            waiting.sleep_until_possibly_free(&contention, request.deadline).await;
            if Instant::now() >= request.deadline {
                return Ok(None);
            }
        }
    }

    pub(crate) async fn raise_floor(&self, resource: &Resource, at_least: Token) -> Result<(), LockError> {
        self.ask_all(&scripts::raise(resource, at_least, self.counter_ttl)).await?;
        metrics::raised();
        Ok(())
    }

    pub(crate) async fn ready(&self) -> Result<(), LockError> {
        self.ask_all(&scripts::ping()).await
    }

    /// Sends `cmd` to all nodes until a quorum has executed it.
    async fn ask_all(&self, cmd: &Arc<Cmd>) -> Result<(), LockError> {
        let round = Round::send(&self.nodes, NodeSet::ALL, cmd);
        let poll = self.poll(round, self.node_timeout, |_| Vote::Yes).await;
        // The others are to hear of it too.
        self.cleanup.finish_detached(poll.rest, &Handle::current());
        poll.outcome.map(|_| ())
    }

    /// Reads answers until a quorum said yes or cannot any more.
    async fn poll(&self, mut round: Round, limit: Duration, interpret: impl Fn(&Reply) -> Vote) -> Poll {
        let alarm = tokio::time::sleep(limit);
        tokio::pin!(alarm);
        let mut tally = Tally::new(self.nodes.len());
        let mut errors = Vec::new();
        let outcome = loop {
            match tally.decision() {
                Decision::Undecided => {}
                Decision::Yes => break Ok(true),
                Decision::No => break Ok(false),
                Decision::Unavailable => {
                    break Err(self.unavailable(&tally, std::mem::take(&mut errors)));
                }
            }
            let Some((index, answer)) = round.next(alarm.as_mut()).await else {
                errors.extend(round.silent());
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
        metrics::node_errors(&errors);
        Poll { outcome, rest: round }
    }

    fn yes_or_no(&self, index: usize, vote: Vote, reply: &Reply) -> Result<bool, NodeError> {
        match vote {
            Vote::Yes => Ok(true),
            Vote::No => Ok(false),
            Vote::Ambiguous => Err(self.nodes[index].silent(AnswerLost)),
            Vote::Malformed => Err(self.unexpected(index, reply)),
        }
    }

    fn unexpected(&self, index: usize, reply: &Reply) -> NodeError {
        self.nodes[index].wrong(Unexpected(format!("{:?}", reply.value)))
    }

    fn unavailable(&self, tally: &Tally, nodes: Vec<NodeError>) -> LockError {
        metrics::node_errors(&nodes);
        let of = self.nodes.len();
        LockError::QuorumUnavailable { needed: quorum(of), answered: tally.answered(), of, nodes }
    }

    /// Releases on the nodes `picked`, detached. May be called from a drop.
    fn release_detached(&self, picked: NodeSet, keys: &Keys, owner: &str, waiter: Option<&WaiterId>, on: &Handle) {
        if picked.is_empty() {
            return;
        }
        let _inside = on.enter();
        let round = Round::send(&self.nodes, picked, &scripts::release(keys, owner, waiter, Wake::Next));
        self.cleanup.finish_detached(round, on);
    }

    /// The nodes that are sent a command when it is polled first, in the order of polling.
    fn connected(&self) -> NodeSet {
        let up = self.nodes.iter().enumerate().filter(|(_, node)| node.is_up());
        up.fold(NodeSet::NONE, |set, (index, _)| set.with(index))
    }

    fn number(&self) -> u64 {
        self.next_number.fetch_add(1, Ordering::Relaxed)
    }
}

/// What an answer means.
#[derive(Clone, Copy, Debug)]
enum Vote {
    Yes,
    No,
    /// The command was sent twice, and this is the answer to the second.
    Ambiguous,
    Malformed,
}

impl Vote {
    /// For scripts that answer 1 or 0, and may be executed twice without harm.
    fn one_or_zero(reply: &Reply) -> Self {
        match reply.value {
            Value::Int(1) => Self::Yes,
            Value::Int(0) => Self::No,
            _ => Self::Malformed,
        }
    }
}

/// The connection broke before the answer came.
#[derive(Debug, thiserror::Error)]
#[error("the connection broke before the answer came")]
struct AnswerLost;

/// What the protocol does not know.
#[derive(Debug, thiserror::Error)]
#[error("unexpected answer {0}")]
struct Unexpected(String);

/// How a question to all nodes ended, and the calls that were not waited for.
struct Poll {
    outcome: Result<bool, LockError>,
    rest: Round,
}

/// Why an attempt was not granted.
#[derive(Debug)]
struct Contention {
    /// How long the holders keep a quorum from being free, as far as they told.
    remaining: Duration,
    /// Some nodes had granted it: several callers were at it at once, or a release is under way.
    split: bool,
}

/// One caller's waiting: its registration at the nodes, its signal, its patience.
#[derive(Debug)]
struct Waiter {
    redlock: Arc<Redlock>,
    keys: Arc<Keys>,
    waiter: WaiterId,
    registration: Registration,
    /// Whether any node may have put us on its list.
    registered: bool,
    /// Registrations at nodes that are still being connected to.
    stragglers: Option<StragglerCalls>,
    splits: u32,
    runtime: Handle,
}

impl Waiter {
    fn new(redlock: &Arc<Redlock>, request: &Request, keys: &Arc<Keys>) -> Self {
        Self {
            redlock: Arc::clone(redlock),
            keys: Arc::clone(keys),
            waiter: WaiterId {
                name: format!("{}:{}", redlock.client_id, redlock.number()),
                since: scripts::unix_micros(),
            },
            registration: redlock.registry.register(&request.resources),
            registered: false,
            stragglers: None,
            splits: 0,
            runtime: Handle::current(),
        }
    }

    /// Sleeps until woken by the nodes, at the latest until the holder's lease may have ended.
    async fn sleep_until_possibly_free(&mut self, contention: &Contention, deadline: Instant) {
        let sleep = if contention.split {
            // Whoever collided here must not collide again: each waits differently long.
            self.splits += 1;
            let most = Duration::from_millis(1 << self.splits.min(6));
            most.mul_f64(random()).min(contention.remaining + Duration::from_millis(1))
        } else {
            self.splits = 0;
            let most = (contention.remaining / 20).clamp(Duration::from_millis(1), Duration::from_millis(20));
            contention.remaining + Duration::from_millis(1) + most.mul_f64(random())
        };
        let latest = deadline.min(Instant::now() + sleep.min(LONGEST_SLEEP));
        let _ = tokio::time::timeout_at(latest, self.registration.notified(quorum(self.redlock.nodes.len()))).await;
    }

    /// The grant leaves the lists when it is released; nothing is left to do here.
    fn succeeded(&mut self) {
        self.stragglers = None;
        self.registered = false;
    }
}

impl Drop for Waiter {
    /// Gives up waiting: off the lists, and if it was our turn just now, it is the next one's.
    fn drop(&mut self) {
        // First of all: who finds us gone wakes others, who finds us here leaves that to what follows.
        self.registration.stop();
        self.stragglers = None;
        if self.registered {
            self.redlock.release_detached(NodeSet::ALL, &self.keys, "-", Some(&self.waiter), &self.runtime);
        }
    }
}

/// From 0 up to 1, different for everybody; good enough to keep callers apart.
fn random() -> f64 {
    use std::hash::{BuildHasher, RandomState};
    let bits = u32::try_from(RandomState::new().hash_one(0) >> 32).unwrap_or_default();
    f64::from(bits) / f64::from(u32::MAX)
}
