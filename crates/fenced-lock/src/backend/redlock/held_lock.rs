//! A lock that a quorum of nodes granted: extending it, releasing it, and handing it off to the next waiter
//! of the same process.

use std::sync::Arc;

use futures_util::FutureExt as _;
use tokio::runtime::Handle;
use tokio::time::Instant;

use super::client::{RedlockClient, Vote};
use super::node::Reply;
use super::node_set::NodeSet;
use super::round::Round;
use super::scripts::{self, Keys, WaiterId, Wake};
use super::stragglers::StragglerCalls;
use crate::lock_backend::{HeldLock, LockFuture};
use crate::{Lease, LockError, ReleaseOutcome, Resource};

/// How many times in a row a lock is handed off inside one process before the nodes choose the next waiter.
const MAX_CONSECUTIVE_HANDOFFS: u32 = 7;

#[derive(Debug)]
pub(super) struct QuorumLock {
    pub(super) client: Arc<RedlockClient>,
    pub(super) keys: Arc<Keys>,
    /// The first resource of the grant.
    pub(super) resource: Resource,
    pub(super) owner: Arc<str>,
    /// Absent where the acquisition did not register as a waiter.
    pub(super) waiter: Option<WaiterId>,
    /// How many times in a row it has been handed off inside this process.
    pub(super) consecutive_handoffs: u32,
    pub(super) stragglers: StragglerCalls,
}

impl QuorumLock {
    async fn release_on_quorum(&self) -> Result<ReleaseOutcome, LockError> {
        self.stragglers.stop();
        let round = match self.next_local_waiter() {
            Some(wait_key) => self.hand_off(wait_key),
            None => self.send_release(Wake::Next),
        };
        let interpret = |reply: &Reply| match Vote::one_or_zero(reply) {
            Vote::No if reply.resent => Vote::Ambiguous,
            vote => vote,
        };
        let reply = self.client.collect_votes(round, self.client.node_timeout, interpret).await;
        self.client.cleanup.finish_detached(reply.unanswered, &Handle::current());
        reply.outcome.map(|held| if held { ReleaseOutcome::Released } else { ReleaseOutcome::NotHeld })
    }

    /// The wait key under which the next waiter of this process is registered, if it waits for nothing else.
    ///
    /// `None` after too many handoffs in a row, and where too few nodes are connected for the next waiter's
    /// acquire command to arrive behind the release.
    fn next_local_waiter(&self) -> Option<&str> {
        let wait_key = self.keys.only_wait_key()?;
        let client = &self.client;
        let in_order = client.connected().len() >= client.quorum();
        let allowed = self.consecutive_handoffs < MAX_CONSECUTIVE_HANDOFFS && in_order;
        (allowed && client.registry.has_next_local_waiter(wait_key)).then_some(wait_key)
    }

    /// Releases without waking a waiter of another process: the next local waiter's acquire command follows
    /// over the same connections, so that the nodes release and grant in one round trip.
    fn hand_off(&self, wait_key: &str) -> Round {
        let round = self.send_release(Wake::None);
        if !self.client.registry.hand_off(wait_key, self.consecutive_handoffs + 1) {
            // The waiter has given up, perhaps before the nodes executed the release: others must be woken.
            let waiter = self.waiter.as_ref();
            self.client.release_detached(NodeSet::ALL, &self.keys, &self.owner, waiter, &Handle::current());
        }
        round
    }

    fn send_release(&self, wake: Wake) -> Round {
        let cmd = scripts::release(&self.keys, &self.owner, self.waiter.as_ref(), wake);
        Round::send(&self.client.nodes, NodeSet::ALL, &cmd)
    }

    async fn extend_on_quorum(&self, lease: Lease) -> Result<Instant, LockError> {
        // A node that is still being connected to must not get the old lease after the new one.
        self.stragglers.stop();
        let started = Instant::now();
        let cmd = scripts::extend(&self.keys, &self.owner, lease);
        let round = Round::send(&self.client.nodes, NodeSet::ALL, &cmd);
        let limit = self.client.node_timeout.min(lease.usable());
        let reply = self.client.collect_votes(round, limit, Vote::one_or_zero).await;
        self.client.cleanup.finish_detached(reply.unanswered, &Handle::current());
        if reply.outcome? {
            Ok(started + lease.usable())
        } else {
            Err(LockError::Lost { resource: self.resource.clone() })
        }
    }
}

impl HeldLock for QuorumLock {
    fn extend(&self, lease: Lease) -> LockFuture<'_, Instant> {
        self.extend_on_quorum(lease).boxed()
    }

    fn release(&self) -> LockFuture<'_, ReleaseOutcome> {
        self.release_on_quorum().boxed()
    }

    fn release_detached(self: Box<Self>, runtime: &Handle) {
        self.stragglers.stop();
        self.client.release_detached(NodeSet::ALL, &self.keys, &self.owner, self.waiter.as_ref(), runtime);
    }

    fn abandon(self: Box<Self>, _runtime: &Handle) {}
}
