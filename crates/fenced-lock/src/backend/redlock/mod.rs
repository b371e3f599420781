//! Redlock: a lock is held when a quorum of independent nodes granted it within its lease.
//!
//! This file is the protocol as one caller sees it: try, and while another caller holds the lock, wait and
//! try again; whatever the outcome, leave nothing behind. The commands are in `scripts`, the connections in
//! `node`, and the calls to many nodes at once in `round`.
//!
//! Source: Redis documentation, "Distributed Locks with Redis".

mod attempt;
mod cleanup;
mod client;
mod held_lock;
mod holder;
mod independence;
mod node;
mod node_set;
mod round;
mod scripts;
mod silence;
mod stragglers;
mod tally;
mod validity;
mod waiter;
mod waiter_registry;

use std::sync::Arc;

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use tokio::time::Instant;

use self::attempt::{Attempt, AttemptOutcome};
use self::client::RedlockClient;
use self::scripts::Keys;
use self::waiter::Waiter;
use crate::cleanups::Cleanups;
use crate::lock_backend::{Acquired, LockBackend, LockFuture, Notification, poll_later};
use crate::request::Request;
use crate::{Holder, LockError, Locks, NodeUrl, Nodes, Options, Resource, Token, UnsuitableNode};

impl Locks {
    /// Redlock over independent nodes, with fencing tokens sealed by a quorum.
    ///
    /// Connects at its first use; never fails because a node is down.
    pub fn redlock(nodes: Nodes, options: Options) -> Self {
        Self::new(Arc::new(Redlock::new(nodes, &options)), &options)
    }
}

/// One client of the nodes.
#[derive(Debug)]
pub(super) struct Redlock(Arc<RedlockClient>);

impl Redlock {
    /// `nodes` must be an odd number of different nodes.
    pub(super) fn new(nodes: impl IntoIterator<Item = NodeUrl>, options: &Options) -> Self {
        Self(RedlockClient::new(nodes, options))
    }

    /// A caller that did not queue in this process most likely finds the lock free, so its first attempt does
    /// not register it as a waiter at the nodes: that makes the work of the nodes a third cheaper.
    async fn acquire_by_deadline(&self, request: &Request) -> Result<Option<Acquired>, LockError> {
        let client = &self.0;
        let keys = Arc::new(Keys::of(&request.resources));
        let mut waiter = (request.waits && request.queued).then(|| Waiter::new(client, request, &keys));
        loop {
            let attempt = Attempt::new(client, &keys, request, waiter.as_mut());
            let contention = match attempt.run().await {
                Ok(AttemptOutcome::Granted(acquired)) => {
                    if let Some(waiter) = &mut waiter {
                        waiter.leave_registration_to_grant();
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
            let Some(waiter) = &mut waiter else {
                waiter = Some(Waiter::new(client, request, &keys));
                continue;
            };
            waiter.sleep_until_possibly_free(&contention, request.deadline).await;
            if Instant::now() >= request.deadline {
                return Ok(None);
            }
        }
    }
}

impl LockBackend for Redlock {
    fn name(&self) -> &'static str {
        "redlock"
    }

    fn acquire<'a>(&'a self, request: &'a Request) -> LockFuture<'a, Option<Acquired>> {
        self.acquire_by_deadline(request).boxed()
    }

    fn raise_floor<'a>(&'a self, resource: &'a Resource, at_least: Token) -> LockFuture<'a, ()> {
        async move {
            self.0.execute_on_quorum(&scripts::raise(resource, at_least, self.0.counter_ttl)).await?;
            metrics::counter!("lock_tokens_raised_total").increment(1);
            Ok(())
        }
        .boxed()
    }

    fn read_holder<'a>(&'a self, resource: &'a Resource) -> LockFuture<'a, (Option<Holder>, Notification)> {
        async move { Ok((holder::read(&self.0, resource).await?, poll_later())) }.boxed()
    }

    fn ready(&self) -> LockFuture<'_, ()> {
        async move { self.0.execute_on_quorum(&scripts::probe(self.0.owners.client_id())).await }.boxed()
    }

    fn check_nodes(&self) -> BoxFuture<'_, Result<(), UnsuitableNode>> {
        self.0.check_nodes().boxed()
    }

    fn cleanups(&self) -> Cleanups {
        self.0.cleanup.cleanups()
    }
}
