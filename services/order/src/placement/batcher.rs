//! Orders of this replica for the same SKUs under the same strategy share a
//! grant: they wait in one queue, one task waits for the lock on behalf of the
//! queue, and the orders that are queued when it is granted pass the critical
//! section as one batch.
//!
//! Invariant: an order is in one queue at a time, and leaves it with a result or
//! because its own wait is over. A queue has one task, its leader, which is started
//! again if it panics. Only strategies that claim share a grant: the token makes one
//! write for several orders as safe as one write each.
//! Absence: no stock is read here, and nothing is decided about an order.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use service_kit::{supervise::supervise, trace::Trace};
use tokio::{
    sync::oneshot,
    time::{Instant, timeout_at},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{
    domain::error::OrderError,
    placement::{
        attempt_error::{AttemptError, AttemptResult},
        batch::{Attempt, Batch, BatchKey, BatchMember, Step},
        critical_section::CriticalSection,
    },
};

/// Most orders in one queue; more are answered 429 `overloaded`.
const MAX_QUEUED: usize = 1024;

/// The queues of this replica. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Batcher {
    /// The critical section that every batch passes.
    pub section: CriticalSection,
    max_batch: usize,
    queues: Arc<Mutex<HashMap<BatchKey, Vec<QueuedAttempt>>>>,
    leaders: TaskTracker,
    /// No leader is started again.
    draining: CancellationToken,
}

/// An attempt that waits for the lock.
#[derive(Debug)]
struct QueuedAttempt {
    member: BatchMember,
    since: Instant,
    until: Instant,
}

impl QueuedAttempt {
    /// The wait for the lock is over, with a grant or without.
    fn dequeue(self) -> BatchMember {
        let mut member = self.member;
        member.attempt.timings.add(Step::Lock, self.since.elapsed());
        member
    }
}

impl Batcher {
    /// At most `max_batch` orders share a grant; if that is 1, each waits for the
    /// lock by itself.
    pub fn new(section: CriticalSection, max_batch: usize) -> Self {
        Self {
            section,
            max_batch,
            queues: Arc::default(),
            leaders: TaskTracker::new(),
            draining: CancellationToken::new(),
        }
    }

    /// Passes the critical section once, in a batch where that is allowed.
    ///
    /// # Cancel safety
    /// An order that is in a batch already goes on without its caller.
    pub async fn attempt(&self, attempt: &mut Attempt) -> AttemptResult {
        let left = attempt.deadline.saturating_duration_since(Instant::now());
        let wait = self.section.wait.min(left);
        let (updated, result) = if attempt.strategy.claims() && self.max_batch > 1 {
            self.attempt_in_batch(attempt, wait).await?
        } else {
            self.attempt_alone(attempt, wait).await?
        };
        *attempt = updated;
        result
    }

    /// Resolves when every queue is empty and every lock released. No attempt may be under way any more.
    pub async fn drained(&self) {
        self.leaders.close();
        self.draining.cancel();
        self.leaders.wait().await;
    }

    async fn attempt_alone(
        &self,
        attempt: &mut Attempt,
        wait: Duration,
    ) -> Result<(Attempt, AttemptResult), AttemptError> {
        let (key, since) = (BatchKey::of(attempt), Instant::now());
        let (member, result) = BatchMember::new(attempt.clone());
        let queued = QueuedAttempt { member, since, until: since + wait };
        let form_batch = || Batch::new(key.clone(), vec![queued.dequeue()]);
        match self.section.run(&key, wait, form_batch).await {
            Ok(batch) => batch.into_iter().for_each(Batch::send_results),
            Err(error) => {
                attempt.timings.add(Step::Lock, since.elapsed());
                return Err(error);
            }
        }
        result.await.map_err(|_| AttemptError::Refused(OrderError::Defect("a batch ended without a result")))
    }

    async fn attempt_in_batch(
        &self,
        attempt: &mut Attempt,
        wait: Duration,
    ) -> Result<(Attempt, AttemptResult), AttemptError> {
        let (key, since) = (BatchKey::of(attempt), Instant::now());
        let until = since + wait;
        let mut result = self.enqueue(&key, attempt.clone(), since, until)?;
        // The sender is dropped without a result only where the leader panicked, perhaps after
        // the write was sent. Orders that were still queued wait for the leader's next start.
        let leader_panicked = |_| AttemptError::OutcomeUnknown;
        if let Ok(result) = timeout_at(until, &mut result).await {
            return result.map_err(leader_panicked);
        }
        if self.leave(&key, attempt) {
            attempt.timings.add(Step::Lock, since.elapsed());
            return Err(AttemptError::Refused(OrderError::LockTimeout { waited: wait }));
        }
        result.await.map_err(leader_panicked) // it joined a batch just before its wait was over
    }

    /// Joins the queue; the first order in a queue starts its leader.
    fn enqueue(
        &self,
        key: &BatchKey,
        attempt: Attempt,
        since: Instant,
        until: Instant,
    ) -> Result<oneshot::Receiver<(Attempt, AttemptResult)>, AttemptError> {
        let (member, result) = BatchMember::new(attempt);
        let newcomer = QueuedAttempt { member, since, until };
        let mut queues = self.lock();
        match queues.get_mut(key) {
            Some(queue) if queue.len() >= MAX_QUEUED => return Err(AttemptError::Refused(OrderError::Overloaded)),
            Some(queue) => queue.push(newcomer),
            None => {
                queues.insert(key.clone(), vec![newcomer]);
                let (own, key) = (self.clone(), key.clone());
                let lead = move |_| own.clone().lead(key.clone());
                self.leaders.spawn(supervise("leader of a queue of orders", self.draining.clone(), lead));
            }
        }
        Ok(result)
    }

    /// Leaves the queue; `false` if the order is in a batch already.
    fn leave(&self, key: &BatchKey, attempt: &Attempt) -> bool {
        let mut queues = self.lock();
        let Some(queue) = queues.get_mut(key) else { return false };
        let before = queue.len();
        queue.retain(|queued| queued.member.attempt.order_id != attempt.order_id);
        queue.len() < before
    }

    /// Runs batch after batch, until the queue is empty.
    async fn lead(self, key: BatchKey) {
        while let Some((wait, trace)) = self.longest_remaining_wait(&key) {
            let batch = trace.instrument(self.section.run(&key, wait, || self.drain(&key))).await;
            match batch {
                Ok(batch) => batch.into_iter().for_each(Batch::send_results),
                Err(AttemptError::Refused(OrderError::LockTimeout { waited })) => self.expire(&key, waited),
                Err(error) => self.refuse_all(&key, &error),
            }
        }
    }

    /// Takes the batch that shares the grant; `None` if every wait was over.
    fn drain(&self, key: &BatchKey) -> Option<Batch> {
        let members = self.dequeue(key, self.max_batch);
        let batch = Batch::new(key.clone(), members)?;
        metrics::histogram!("order_batch_size", "strategy" => key.strategy.name()).record(size(&batch));
        Some(batch)
    }

    /// How long the last of the queue's waits still lasts, and the request in
    /// whose trace the lock is acquired. An empty queue is removed.
    fn longest_remaining_wait(&self, key: &BatchKey) -> Option<(Duration, Trace)> {
        let mut queues = self.lock();
        let queue = queues.get(key)?;
        let latest = queue.iter().map(|queued| queued.until).max().zip(queue.first());
        let found =
            latest.map(|(until, first)| (until.saturating_duration_since(Instant::now()), first.member.trace.clone()));
        if found.is_none() {
            queues.remove(key);
        }
        found
    }

    fn dequeue(&self, key: &BatchKey, at_most: usize) -> Vec<BatchMember> {
        let mut queues = self.lock();
        let Some(queue) = queues.get_mut(key) else { return Vec::new() };
        let many = queue.len().min(at_most);
        queue.drain(..many).map(QueuedAttempt::dequeue).collect()
    }

    /// Answers the orders whose wait is over.
    fn expire(&self, key: &BatchKey, waited: Duration) {
        let now = Instant::now();
        let expired: Vec<_> = match self.lock().get_mut(key) {
            Some(queue) => queue.extract_if(.., |queued| queued.until <= now).collect(),
            None => Vec::new(),
        };
        for queued in expired {
            let mut member = queued.dequeue();
            member.finish(Err(AttemptError::Refused(OrderError::LockTimeout { waited })));
            member.send_result();
        }
    }

    fn refuse_all(&self, key: &BatchKey, error: &AttemptError) {
        for mut member in self.dequeue(key, MAX_QUEUED) {
            member.finish(Err(error.clone()));
            member.send_result();
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<BatchKey, Vec<QueuedAttempt>>> {
        self.queues.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[expect(clippy::cast_precision_loss, reason = "far below 2⁵³")]
fn size(batch: &Batch) -> f64 {
    batch.len() as f64
}
