//! One attempt to be granted a lock: ask all nodes at once, go with the first quorum, agree on
//! the tokens. An attempt that ends in any other way, by being dropped too, takes back what it
//! was granted anywhere.

use std::sync::Arc;
use std::time::Duration;

use redis::Value;
use tokio::runtime::Handle;
use tokio::time::Instant;

use super::{
    Contention, Decision, Keys, NodeSet, QuorumLock, Redlock, Reply, Round, StragglerCalls, Tally, Vote, Waiter,
    earliest_free, quorum, scripts,
};
use crate::grant::{self, Acquired};
use crate::locks::Request;
use crate::{LockError, NodeError, Token, metrics};

pub(super) enum AttemptOutcome {
    Granted(Acquired),
    Contended(Contention),
}

/// Takes back what was granted unless it is told not to.
pub(super) struct Attempt<'a> {
    redlock: &'a Arc<Redlock>,
    keys: &'a Arc<Keys>,
    request: &'a Request,
    waiting: Option<&'a mut Waiter>,
    owner: Arc<str>,
    started: Instant,
    /// `None` once the outcome is decided.
    round: Option<Round>,
    /// Where the lock may be ours.
    granted: NodeSet,
    /// The counters of the nodes that granted it, resource by resource.
    counters: Vec<Vec<u64>>,
    /// What is left of the holders' leases, where somebody has it.
    remaining: Vec<Duration>,
    runtime: Handle,
}

impl<'a> Attempt<'a> {
    /// The nodes are asked from here on.
    pub(super) fn new(
        redlock: &'a Arc<Redlock>,
        keys: &'a Arc<Keys>,
        owner: Arc<str>,
        request: &'a Request,
        mut waiting: Option<&'a mut Waiter>,
    ) -> Self {
        let started = Instant::now();
        let waiter = waiting.as_mut().map(|waiting| {
            waiting.stragglers = None;
            waiting.registration.reset();
            (&waiting.waiter, std::mem::replace(&mut waiting.registered, true))
        });
        let cmd = scripts::acquire(keys, &owner, request.lease, redlock.counter_ttl, waiter);
        let round = Round::send(&redlock.nodes, NodeSet::ALL, &cmd);
        Self {
            redlock,
            keys,
            request,
            waiting,
            owner,
            started,
            round: Some(round),
            granted: NodeSet::NONE,
            counters: Vec::with_capacity(redlock.nodes.len()),
            remaining: Vec::new(),
            runtime: Handle::current(),
        }
    }

    pub(super) async fn run(mut self) -> Result<AttemptOutcome, LockError> {
        if !self.ask().await? {
            let contention = self.contention();
            self.take_back();
            return Ok(AttemptOutcome::Contended(contention));
        }
        let tokens = match self.agreed() {
            Some(tokens) => tokens,
            None => self.seal().await?,
        };
        let now = Instant::now();
        let elapsed = now - self.started;
        let Some(left) = self.request.lease.left_after(elapsed) else {
            return Err(LockError::Lapsed { lease: self.request.lease.get(), elapsed });
        };
        let tokens = self.parse(&tokens)?;
        let waiter = self.waiting.as_ref().map(|waiting| waiting.waiter.clone());
        let consecutive_handoffs =
            self.waiting.as_ref().map_or(0, |waiting| waiting.registration.consecutive_handoffs());
        let stragglers = StragglerCalls::new(self.round.take());
        let resource = &self.request.resources[0];
        let held =
            QuorumLock::new(self.redlock, self.keys, resource, &self.owner, waiter, consecutive_handoffs, stragglers);
        Ok(AttemptOutcome::Granted(Acquired {
            owner: Arc::clone(&self.owner),
            tokens,
            valid_until: now + left,
            held: grant::HeldLock::Redlock(held),
        }))
    }

    /// Whether a quorum granted it; `false` is contention.
    async fn ask(&mut self) -> Result<bool, LockError> {
        let limit = self.redlock.node_timeout.min(self.request.lease.usable());
        let alarm = tokio::time::sleep_until(self.started + limit);
        tokio::pin!(alarm);
        let mut tally = Tally::new(self.redlock.nodes.len());
        let mut errors = Vec::new();
        loop {
            match tally.decision() {
                Decision::Undecided => {}
                Decision::Yes => {
                    metrics::node_errors(&errors);
                    return Ok(true);
                }
                Decision::No => {
                    metrics::node_errors(&errors);
                    return Ok(false);
                }
                Decision::Unavailable => return Err(self.redlock.unavailable(&tally, errors)),
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
                    // NoAnswerWithin can hide a grant.
                    if !matches!(error, NodeError::Refused { .. }) {
                        self.granted = self.granted.with(index);
                    }
                    tally.failed();
                    errors.push(error);
                }
                None => {
                    errors.extend(round.silent());
                    // What is late now would be too late for this attempt.
                    if tally.answered() >= quorum(self.redlock.nodes.len()) {
                        metrics::node_errors(&errors);
                        return Ok(false);
                    }
                    return Err(self.redlock.unavailable(&tally, errors));
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
                    counters.collect::<Result<Vec<u64>, ()>>().map_err(|()| self.redlock.unexpected(index, reply))?;
                self.counters.push(counters);
                Ok(true)
            }
            _ => Err(self.redlock.unexpected(index, reply)),
        }
    }

    /// The fast path: the nodes of the quorum that granted it had counted alike.
    fn agreed(&self) -> Option<Vec<u64>> {
        let (first, others) = self.counters.split_first()?;
        others.iter().all(|counters| counters == first).then(|| first.clone())
    }

    /// The slow path: the highest counter becomes the token, once a quorum has it.
    ///
    /// Whoever starts acquiring after that meets at least one of these nodes, and gets more.
    async fn seal(&mut self) -> Result<Vec<u64>, LockError> {
        let tokens: Vec<u64> = (0..self.keys.len())
            .map(|resource| self.counters.iter().map(|counters| counters[resource]).max().unwrap_or(0))
            .collect();
        let redlock = self.redlock;
        let cmd = scripts::seal(self.keys, &self.owner, self.request.lease, redlock.counter_ttl, &tokens);
        let round = Round::send(&redlock.nodes, NodeSet::ALL, &cmd);
        metrics::sealed();
        let poll = redlock.poll(round, redlock.node_timeout, Vote::one_or_zero).await;
        if poll.outcome? {
            // StragglerCalls acquisitions and late seals have been sent; nobody needs their answers.
            redlock.cleanup.finish_detached(poll.rest, &self.runtime);
            Ok(tokens)
        } else {
            // Expired under us, or its nodes forgot: nothing of the lease is left.
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
        let unheard = self.round.as_ref().map_or(0, |round| round.unanswered().count());
        let remaining = earliest_free(&mut self.remaining, granted + unheard, self.redlock.nodes.len());
        Contention { remaining, split: granted > 0 }
    }

    /// Gives back what some nodes granted, and goes on waiting there.
    fn take_back(&mut self) {
        let Some(round) = self.round.take() else {
            return;
        };
        let picked = self.granted.and(round.unanswered());
        drop(round);
        match &mut self.waiting {
            None => self.redlock.release_detached(picked, self.keys, &self.owner, None, &self.runtime),
            Some(waiting) => {
                let cmd = scripts::yield_to_others(self.keys, &self.owner, &waiting.waiter);
                let send = |picked| Round::send(&self.redlock.nodes, picked, &cmd);
                let connected = self.redlock.connected();
                self.redlock.cleanup.finish_detached(send(picked.with_only(connected)), &self.runtime);
                waiting.stragglers = Some(StragglerCalls::new(Some(send(picked.without(connected)))));
            }
        }
    }
}

impl Drop for Attempt<'_> {
    fn drop(&mut self) {
        if let Some(round) = self.round.take() {
            let picked = self.granted.and(round.unanswered());
            // Calls that were not sent yet go unsent; those that were are executed before the release.
            drop(round);
            self.redlock.release_detached(picked, self.keys, &self.owner, None, &self.runtime);
        }
    }
}
