//! A lock that was granted: extending it and giving it back.

use std::sync::{Arc, Mutex};

use tokio::runtime::Handle;
use tokio::time::Instant;

use super::{CLEAN_UP, Keys, NodeSet, Redlock, Reply, Round, Said, Waiter, scripts};
use crate::grant::Released;
use crate::{Lease, LockError, Resource};

/// What is needed to extend a lock and to give it back.
#[derive(Debug)]
pub(crate) struct Held {
    redlock: Arc<Redlock>,
    keys: Arc<Keys>,
    resource: Resource,
    owner: Arc<str>,
    waiter: Option<Waiter>,
    /// The calls to the nodes that the quorum did not wait for. Kept so that they are still sent:
    /// the lock is to be on all nodes, and survive the loss of any minority.
    _late: Mutex<Option<Round>>,
}

impl Held {
    pub(super) fn new(
        redlock: &Arc<Redlock>,
        keys: &Arc<Keys>,
        resource: &Resource,
        owner: &Arc<str>,
        waiter: Option<Waiter>,
        late: Option<Round>,
    ) -> Self {
        Self {
            redlock: Arc::clone(redlock),
            keys: Arc::clone(keys),
            resource: resource.clone(),
            owner: Arc::clone(owner),
            waiter,
            _late: Mutex::new(late),
        }
    }

    pub(crate) async fn release(&self) -> Result<Released, LockError> {
        let cmd = scripts::release(&self.keys, &self.owner, self.waiter.as_ref());
        let round = Round::send(&self.redlock.nodes, NodeSet::ALL, &cmd);
        let understand = |reply: &Reply| match Said::one_or_zero(reply) {
            Said::No if reply.resent => Said::Ambiguous,
            said => said,
        };
        let poll = self
            .redlock
            .poll(round, self.redlock.node_timeout, understand)
            .await;
        poll.rest.finish_detached(&Handle::current(), CLEAN_UP);
        poll.outcome.map(|ours| {
            if ours {
                Released::WasOurs
            } else {
                Released::WasGone
            }
        })
    }

    pub(crate) async fn extend(&self, lease: Lease) -> Result<Instant, LockError> {
        let started = Instant::now();
        let cmd = scripts::extend(&self.keys, &self.owner, lease);
        let round = Round::send(&self.redlock.nodes, NodeSet::ALL, &cmd);
        let limit = self.redlock.node_timeout.min(lease.usable());
        let poll = self.redlock.poll(round, limit, Said::one_or_zero).await;
        poll.rest.finish_detached(&Handle::current(), CLEAN_UP);
        if poll.outcome? {
            Ok(started + lease.usable())
        } else {
            Err(LockError::Lost {
                resource: self.resource.clone(),
            })
        }
    }

    pub(crate) fn give_up(&self, runtime: &Handle) {
        self.redlock.release_detached(
            NodeSet::ALL,
            &self.keys,
            &self.owner,
            self.waiter.as_ref(),
            runtime,
        );
    }
}
