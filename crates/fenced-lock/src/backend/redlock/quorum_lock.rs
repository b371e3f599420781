//! A lock that was granted: extending it and giving it back.

use std::future::poll_fn;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Poll;

use tokio::runtime::Handle;
use tokio::task::AbortHandle;
use tokio::time::Instant;

use super::scripts::Wake;
use super::{Keys, NodeSet, Redlock, Reply, Round, Vote, WaiterId, quorum, scripts};
use crate::grant::ReleaseOutcome;
use crate::{Lease, LockError, Resource};

/// How often in a row a lock is handed on inside one process while others may be waiting elsewhere.
const MAX_CONSECUTIVE_HANDOFFS: u32 = 7;

/// What is needed to extend a lock and to give it back.
#[derive(Debug)]
pub(crate) struct QuorumLock {
    redlock: Arc<Redlock>,
    keys: Arc<Keys>,
    resource: Resource,
    owner: Arc<str>,
    waiter: Option<WaiterId>,
    /// How often in a row it has been handed on inside this process.
    consecutive_handoffs: u32,
    stragglers: StragglerCalls,
}

impl QuorumLock {
    pub(super) fn new(
        redlock: &Arc<Redlock>,
        keys: &Arc<Keys>,
        resource: &Resource,
        owner: &Arc<str>,
        waiter: Option<WaiterId>,
        consecutive_handoffs: u32,
        stragglers: StragglerCalls,
    ) -> Self {
        Self {
            redlock: Arc::clone(redlock),
            keys: Arc::clone(keys),
            resource: resource.clone(),
            owner: Arc::clone(owner),
            waiter,
            consecutive_handoffs,
            stragglers,
        }
    }

    pub(crate) async fn release(&self) -> Result<ReleaseOutcome, LockError> {
        self.stragglers.stop();
        let round = match self.next_local_waiter() {
            Some(key) => self.hand_off(key),
            None => self.send_release(Wake::Next),
        };
        let interpret = |reply: &Reply| match Vote::one_or_zero(reply) {
            Vote::No if reply.resent => Vote::Ambiguous,
            vote => vote,
        };
        let poll = self.redlock.poll(round, self.redlock.node_timeout, interpret).await;
        self.redlock.cleanup.finish_detached(poll.rest, &Handle::current());
        poll.outcome.map(|ours| if ours { ReleaseOutcome::Released } else { ReleaseOutcome::NotHeld })
    }

    /// The list of the waiting on which somebody of this process comes next, who waits for nothing else.
    ///
    /// Nobody does where others have stood back often enough, and where too few nodes are connected
    /// for the heir's question to arrive behind the release.
    fn next_local_waiter(&self) -> Option<&str> {
        let key = self.keys.only_wait_key()?;
        let redlock = &self.redlock;
        let in_order = redlock.connected().count() >= quorum(redlock.nodes.len());
        (self.consecutive_handoffs < MAX_CONSECUTIVE_HANDOFFS
            && in_order
            && redlock.registry.has_next_local_waiter(key))
        .then_some(key)
    }

    /// Releases without waking anybody elsewhere: the heir's question follows over the same
    /// connections, so that the nodes release and grant in one round trip.
    fn hand_off(&self, key: &str) -> Round {
        let round = self.send_release(Wake::Nobody);
        if !self.redlock.registry.hand_off(key, self.consecutive_handoffs + 1) {
            // It gave up meanwhile, perhaps before the nodes saw the release: others are to be woken.
            let waiter = self.waiter.as_ref();
            self.redlock.release_detached(NodeSet::ALL, &self.keys, &self.owner, waiter, &Handle::current());
        }
        round
    }

    fn send_release(&self, wake: Wake) -> Round {
        let cmd = scripts::release(&self.keys, &self.owner, self.waiter.as_ref(), wake);
        Round::send(&self.redlock.nodes, NodeSet::ALL, &cmd)
    }

    pub(crate) async fn extend(&self, lease: Lease) -> Result<Instant, LockError> {
        // A node that is still being connected to must not be given the old lease after the new one.
        self.stragglers.stop();
        let started = Instant::now();
        let cmd = scripts::extend(&self.keys, &self.owner, lease);
        let round = Round::send(&self.redlock.nodes, NodeSet::ALL, &cmd);
        let limit = self.redlock.node_timeout.min(lease.usable());
        let poll = self.redlock.poll(round, limit, Vote::one_or_zero).await;
        self.redlock.cleanup.finish_detached(poll.rest, &Handle::current());
        if poll.outcome? {
            Ok(started + lease.usable())
        } else {
            Err(LockError::Lost { resource: self.resource.clone() })
        }
    }

    pub(crate) fn release_detached(&self, runtime: &Handle) {
        self.stragglers.stop();
        self.redlock.release_detached(NodeSet::ALL, &self.keys, &self.owner, self.waiter.as_ref(), runtime);
    }
}

/// Calls to nodes that nobody waits for. They are still sent — the lock is to be on all nodes, and
/// survive the loss of any minority; whoever waits is to be known to all — but never after what
/// undoes or replaces them, a release or another lease: stopping comes first.
#[derive(Debug)]
pub(super) struct StragglerCalls {
    round: Arc<Mutex<Option<Round>>>,
    /// Only where some call has to wait for a connection first.
    task: Option<AbortHandle>,
}

impl StragglerCalls {
    pub(super) fn new(round: Option<Round>) -> Self {
        // What has been sent needs nobody any more, and is not to wake a caller who has gone on.
        let unsent = round.filter(|round| round.has_unsent() && round.is_waiting());
        let round = Arc::new(Mutex::new(unsent));
        let task = lock(&round).is_some().then(|| {
            let round = Arc::clone(&round);
            let sending = poll_fn(move |cx| match &mut *lock(&round) {
                Some(round) => round.poll_all(cx),
                None => Poll::Ready(()),
            });
            tokio::spawn(sending).abort_handle()
        });
        Self { round, task }
    }

    /// What has been sent by now is executed before whatever is sent next; the rest never is.
    fn stop(&self) {
        drop(lock(&self.round).take());
        if let Some(task) = &self.task {
            task.abort();
        }
    }
}

impl Drop for StragglerCalls {
    fn drop(&mut self) {
        self.stop();
    }
}

fn lock(round: &Mutex<Option<Round>>) -> MutexGuard<'_, Option<Round>> {
    round.lock().unwrap_or_else(PoisonError::into_inner)
}
