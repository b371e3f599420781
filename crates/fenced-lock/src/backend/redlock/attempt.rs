//! One attempt to acquire a lock: ask all nodes at once, go with the first quorum, agree on the tokens. An
//! attempt that ends in any other way, also by being dropped, releases what it was granted on any node.

use std::sync::Arc;
use std::time::Duration;

use redis::Value;
use tokio::runtime::Handle;
use tokio::time::Instant;

use super::client::{RedlockClient, Vote};
use super::held_lock::QuorumLock;
use super::node::Reply;
use super::node_set::NodeSet;
use super::round::Round;
use super::scripts::{self, Keys};
use super::stragglers::StragglerCalls;
use super::tally::{Decision, Tally, earliest_free};
use super::validity::remaining_validity;
use super::waiter::{Contention, Waiter};
use crate::backend::node_errors;
use crate::lock_backend::Acquired;
use crate::request::Request;
use crate::{FailureKind, LockError, NodeError, Token};

pub(super) enum AttemptOutcome {
    Granted(Acquired),
    Contended(Contention),
}

/// Releases on drop what was granted, unless the outcome is decided.
pub(super) struct Attempt<'a> {
    client: &'a Arc<RedlockClient>,
    keys: &'a Arc<Keys>,
    request: &'a Request,
    /// Absent where the nodes do not register the caller as a waiter.
    waiter: Option<&'a mut Waiter>,
    owner: Arc<str>,
    started: Instant,
    /// `None` once the outcome is decided.
    round: Option<Round>,
    /// The nodes that may have granted the lock.
    granted: NodeSet,
    /// The counters of the nodes that granted it; in each, one for each resource.
    counters: Vec<Vec<u64>>,
    /// The rest of the holders' leases, of the nodes that refused it.
    remaining: Vec<Duration>,
    runtime: Handle,
}

impl<'a> Attempt<'a> {
    /// Asks the nodes at once.
    pub(super) fn new(
        client: &'a Arc<RedlockClient>,
        keys: &'a Arc<Keys>,
        request: &'a Request,
        mut waiter: Option<&'a mut Waiter>,
    ) -> Self {
        let (owner, started) = (client.owners.next(), Instant::now());
        let waiting = waiter.as_mut().map(|waiter| {
            let registered = waiter.start_attempt();
            (&waiter.id, registered)
        });
        let cmd = scripts::acquire(keys, &owner, request.lease, client.counter_ttl, waiting);
        let round = Round::send(&client.nodes, NodeSet::ALL, &cmd);
        Self {
            client,
            keys,
            request,
            waiter,
            owner,
            started,
            round: Some(round),
            granted: NodeSet::NONE,
            counters: Vec::with_capacity(client.nodes.len()),
            remaining: Vec::new(),
            runtime: Handle::current(),
        }
    }

    pub(super) async fn run(mut self) -> Result<AttemptOutcome, LockError> {
        if !self.ask().await? {
            let contention = self.contention();
            self.withdraw();
            return Ok(AttemptOutcome::Contended(contention));
        }
        let tokens = match self.equal_counters() {
            Some(tokens) => tokens,
            None => self.seal().await?,
        };
        let now = Instant::now();
        let elapsed = now - self.started;
        let Some(remaining) = remaining_validity(self.request.lease, elapsed) else {
            return Err(LockError::Lapsed { lease: self.request.lease.get(), elapsed });
        };
        let tokens = self.parse(&tokens)?;
        let held = QuorumLock {
            client: Arc::clone(self.client),
            keys: Arc::clone(self.keys),
            resource: self.request.resources[0].clone(),
            owner: Arc::clone(&self.owner),
            waiter: self.waiter.as_ref().map(|waiter| waiter.id.clone()),
            consecutive_handoffs: self.waiter.as_ref().map_or(0, |waiter| waiter.registration.consecutive_handoffs()),
            stragglers: StragglerCalls::new(self.round.take()),
        };
        let owner = Arc::clone(&self.owner);
        Ok(AttemptOutcome::Granted(Acquired { owner, tokens, valid_until: now + remaining, held: Box::new(held) }))
    }

    /// Whether a quorum granted it; `false` is contention.
    async fn ask(&mut self) -> Result<bool, LockError> {
        let limit = self.client.node_timeout.min(self.request.lease.usable());
        let alarm = tokio::time::sleep_until(self.started + limit);
        tokio::pin!(alarm);
        let mut tally = Tally::new(self.client.nodes.len());
        let mut errors = Vec::new();
        loop {
            match tally.decision() {
                Decision::Undecided => {}
                Decision::Yes => {
                    node_errors::record(&errors);
                    return Ok(true);
                }
                Decision::No => {
                    node_errors::record(&errors);
                    return Ok(false);
                }
                Decision::Unavailable => return Err(self.client.unavailable(&tally, errors)),
            }
            let Some(round) = &mut self.round else {
                return Ok(false);
            };
            match round.next(alarm.as_mut()).await {
                Some((index, Ok(reply))) => match self.count(index, &reply) {
                    Ok(true) => tally.yes(),
                    Ok(false) => tally.no(),
                    Err(error) => {
                        tally.failed();
                        errors.push(error);
                    }
                },
                Some((index, Err(error))) => {
                    // A missing answer can hide a grant.
                    if error.kind() != FailureKind::Unreachable {
                        self.granted = self.granted.with(index);
                    }
                    tally.failed();
                    errors.push(error);
                }
                None => {
                    errors.extend(round.timed_out());
                    // An answer after this moment is too late for this attempt.
                    if tally.answered() >= self.client.quorum() {
                        node_errors::record(&errors);
                        return Ok(false);
                    }
                    return Err(self.client.unavailable(&tally, errors));
                }
            }
        }
    }

    fn count(&mut self, index: usize, reply: &Reply) -> Result<bool, NodeError> {
        match &reply.value {
            Value::Int(remaining) => {
                self.remaining.push(Duration::from_millis(u64::try_from(*remaining).unwrap_or(0)));
                Ok(false)
            }
            Value::Array(counters) if counters.len() == self.keys.len() => {
                self.granted = self.granted.with(index);
                let counters = counters.iter().map(|counter| match counter {
                    Value::Int(counter) => u64::try_from(*counter).map_err(|_| ()),
                    _ => Err(()),
                });
                let counters =
                    counters.collect::<Result<Vec<u64>, ()>>().map_err(|()| self.client.unexpected(index, reply))?;
                self.counters.push(counters);
                Ok(true)
            }
            _ => Err(self.client.unexpected(index, reply)),
        }
    }

    /// The fast path: all nodes of the granting quorum have the same counters.
    fn equal_counters(&self) -> Option<Vec<u64>> {
        let (first, others) = self.counters.split_first()?;
        others.iter().all(|counters| counters == first).then(|| first.clone())
    }

    /// The slow path: the highest counter becomes the token, once a quorum has stored it.
    ///
    /// An acquisition that starts after that asks at least one of these nodes, and gets a higher token.
    async fn seal(&mut self) -> Result<Vec<u64>, LockError> {
        let tokens: Vec<u64> = (0..self.keys.len())
            .map(|resource| self.counters.iter().map(|counters| counters[resource]).max().unwrap_or(0))
            .collect();
        let client = self.client;
        let cmd = scripts::seal(self.keys, &self.owner, self.request.lease, client.counter_ttl, &tokens);
        let round = Round::send(&client.nodes, NodeSet::ALL, &cmd);
        metrics::counter!("lock_tokens_sealed_total").increment(1);
        let reply = client.collect_votes(round, client.node_timeout, Vote::one_or_zero).await;
        if reply.outcome? {
            // Late acquisitions and late seals have been sent; their answers are not needed.
            client.cleanup.finish_detached(reply.unanswered, &self.runtime);
            Ok(tokens)
        } else {
            // The lock has expired, or its nodes lost it: nothing of the lease is left.
            Err(LockError::Lapsed { lease: self.request.lease.get(), elapsed: self.started.elapsed() })
        }
    }

    fn parse(&self, tokens: &[u64]) -> Result<Vec<Option<Token>>, LockError> {
        let exhausted =
            |resource: usize| LockError::TokensExhausted { resource: self.request.resources[resource].clone() };
        let token = |(resource, &token)| Token::new(token).map(Some).map_err(|_| exhausted(resource));
        tokens.iter().enumerate().map(token).collect()
    }

    fn contention(&mut self) -> Contention {
        let granted = self.counters.len();
        let unanswered = self.round.as_ref().map_or(0, |round| round.unanswered().len());
        let remaining = earliest_free(&mut self.remaining, granted + unanswered, self.client.nodes.len());
        Contention { remaining, collided: granted > 0 }
    }

    /// Releases what some nodes granted, and stays registered as a waiter there.
    fn withdraw(&mut self) {
        let Some(round) = self.round.take() else {
            return;
        };
        let nodes = self.granted.union(round.unanswered());
        drop(round);
        match &mut self.waiter {
            None => self.client.release_detached(nodes, self.keys, &self.owner, None, &self.runtime),
            Some(waiter) => {
                let cmd = scripts::yield_to_others(self.keys, &self.owner, &waiter.id);
                let send = |nodes| Round::send(&self.client.nodes, nodes, &cmd);
                let connected = self.client.connected();
                self.client.cleanup.finish_detached(send(nodes.intersection(connected)), &self.runtime);
                waiter.keep_sending(StragglerCalls::new(Some(send(nodes.without(connected)))));
            }
        }
    }
}

impl Drop for Attempt<'_> {
    fn drop(&mut self) {
        if let Some(round) = self.round.take() {
            let nodes = self.granted.union(round.unanswered());
            // Calls that were not sent yet stay unsent; nodes execute the sent ones before the release.
            drop(round);
            self.client.release_detached(nodes, self.keys, &self.owner, None, &self.runtime);
        }
    }
}
