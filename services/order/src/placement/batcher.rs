//! Who shares a grant: orders of this replica that want the same SKUs under the
//! same strategy wait in one place. One conductor for each such crowd stands at
//! the lock, and takes everybody who has gathered by the time it is granted
//! through the critical section together.
//!
//! Invariant: an order is in one place at a time, and leaves it with an answer
//! or because its own wait is over. Only strategies that claim share: the token
//! is what makes one write for several orders as safe as one for each.
//! Absence: no stock is known here, and nothing is decided.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use fenced_lock::Grants;
use service_kit::trace::{self, Trace};
use tokio::{
    sync::oneshot,
    time::{Instant, timeout_at},
};
use tokio_util::task::TaskTracker;
use tracing::{Instrument as _, Span};

use crate::domain::error::OrderError;
use crate::domain::order::{OrderLine, Sku};
use crate::placement::batch::{AttemptResult, Batch};
use crate::placement::critical_section::{Attempt, CriticalSection};
use crate::placement::outcome::AttemptError;
use crate::placement::timings::Step;
use crate::strategy::Strategy;

/// Most orders waiting for the same SKUs; more are too much work at once.
const MAX_QUEUED: usize = 1024;

type Key = (Strategy, Vec<Sku>);

/// Everybody who waits for a grant in this replica. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Batcher {
    /// What they pass.
    pub section: CriticalSection,
    max_batch: usize,
    waiting: Arc<Mutex<HashMap<Key, Vec<QueuedAttempt>>>>,
    leaders: TaskTracker,
}

/// One order, until it is taken along.
#[derive(Debug)]
struct QueuedAttempt {
    attempt: Attempt,
    since: Instant,
    until: Instant,
    /// The request it belongs to; whoever conducts outlives that.
    trace: Trace,
    tell: oneshot::Sender<(Attempt, AttemptResult)>,
}

impl Batcher {
    /// Nobody waits yet. At most `largest_party` orders share a grant; where
    /// that is one, each stands at the lock by itself.
    pub fn new(section: CriticalSection, max_batch: usize) -> Self {
        Self { section, max_batch, waiting: Arc::default(), leaders: TaskTracker::new() }
    }

    /// One pass through the critical section, alone or with others.
    ///
    /// # Cancel safety
    /// An order that was taken along goes on without its caller.
    pub async fn pass(&self, attempt: &mut Attempt) -> AttemptResult {
        let left = attempt.deadline.saturating_duration_since(Instant::now());
        let wait = self.section.wait.min(left);
        let (after, ended) = if attempt.strategy.claims() && self.max_batch > 1 {
            self.pass_with_others(attempt, wait).await?
        } else {
            self.pass_alone(attempt, wait).await?
        };
        *attempt = after;
        ended
    }

    /// Resolves when every lock has been given back.
    pub async fn drained(&self) {
        self.leaders.close();
        self.leaders.wait().await;
    }

    async fn pass_alone(
        &self,
        attempt: &mut Attempt,
        wait: Duration,
    ) -> Result<(Attempt, AttemptResult), AttemptError> {
        let acquiring = self.section.acquire(attempt.strategy, &attempt.lines, wait);
        let grants = attempt.timings.measure(Step::Lock, acquiring).await?;
        let mut batch = Batch::of([attempt.clone()]);
        let span = span_of(&batch);
        self.section.pass(&mut batch, grants).instrument(span).await;
        batch.into_results().next().ok_or(AttemptError::Refused(OrderError::Defect("a party of nobody")))
    }

    async fn pass_with_others(
        &self,
        attempt: &mut Attempt,
        wait: Duration,
    ) -> Result<(Attempt, AttemptResult), AttemptError> {
        let (since, key) = (Instant::now(), key_of(attempt));
        let until = since + wait;
        let mut told = self.join(&key, attempt.clone(), since, until)?;
        if let Ok(told) = timeout_at(until, &mut told).await {
            return told.map_err(|_gone| AttemptError::OutcomeUnknown);
        }
        if self.leave(&key, attempt) {
            attempt.timings.add(Step::Lock, since.elapsed());
            return Err(AttemptError::Refused(OrderError::LockTimeout { waited: wait }));
        }
        told.await.map_err(|_gone| AttemptError::OutcomeUnknown) // it was taken along just then
    }

    /// Waits with the others; whoever finds the place empty sends a conductor.
    fn join(
        &self,
        key: &Key,
        attempt: Attempt,
        since: Instant,
        until: Instant,
    ) -> Result<oneshot::Receiver<(Attempt, AttemptResult)>, AttemptError> {
        let (tell, told) = oneshot::channel();
        let newcomer = QueuedAttempt { attempt, since, until, trace: trace::here(), tell };
        let mut waiting = self.lock();
        match waiting.get_mut(key) {
            Some(crowd) if crowd.len() >= MAX_QUEUED => return Err(AttemptError::Refused(OrderError::Overloaded)),
            Some(crowd) => crowd.push(newcomer),
            None => {
                waiting.insert(key.clone(), vec![newcomer]);
                self.leaders.spawn(self.clone().lead(key.clone()));
            }
        }
        Ok(told)
    }

    /// True if it was still waiting.
    fn leave(&self, key: &Key, attempt: &Attempt) -> bool {
        let mut waiting = self.lock();
        let Some(crowd) = waiting.get_mut(key) else { return false };
        let before = crowd.len();
        crowd.retain(|one| one.attempt.order_id != attempt.order_id);
        crowd.len() < before
    }

    /// Takes party after party through, until nobody waits any more.
    async fn lead(self, key: Key) {
        let (strategy, lines) = (key.0, lines_of(&key));
        while let Some((longest, trace)) = self.longest_remaining_wait(&key) {
            match trace.carry(self.section.acquire(strategy, &lines, longest)).await {
                Ok(grants) => self.run_batch(&key, grants).await,
                Err(AttemptError::Refused(OrderError::LockTimeout { waited })) => self.expire(&key, waited),
                Err(error_before) => {
                    for one in self.take(&key, MAX_QUEUED) {
                        one.tell(Err(error_before.clone()));
                    }
                }
            }
        }
    }

    async fn run_batch(&self, key: &Key, grants: Grants) {
        let (mut attempts, mut listeners, mut traces) = (Vec::new(), Vec::new(), Vec::new());
        for QueuedAttempt { mut attempt, since, trace, tell, until: _ } in self.take(key, self.max_batch) {
            attempt.timings.add(Step::Lock, since.elapsed());
            attempts.push(attempt);
            listeners.push(tell);
            traces.push(trace);
        }
        let Some((first, others)) = traces.split_first() else {
            let _released = grants.release().await; // everybody's wait was over
            return;
        };
        let mut batch = Batch::of(attempts);
        metrics::histogram!("order_batch_size", "strategy" => key.0.name()).record(size(&batch));
        let passing = async {
            let span = span_of(&batch);
            for other in others {
                other.shares(&span);
            }
            self.section.pass(&mut batch, grants).instrument(span).await;
        };
        first.clone().carry(passing).await;
        for (listener, ended) in listeners.into_iter().zip(batch.into_results()) {
            let _gone = listener.send(ended);
        }
    }

    /// How long the most patient one still waits, and for which request the lock
    /// is asked; the place is closed when nobody is there.
    fn longest_remaining_wait(&self, key: &Key) -> Option<(Duration, Trace)> {
        let mut waiting = self.lock();
        let crowd = waiting.get(key)?;
        let latest = crowd.iter().map(|one| one.until).max().zip(crowd.first());
        let found = latest.map(|(until, first)| (until.saturating_duration_since(Instant::now()), first.trace.clone()));
        if found.is_none() {
            waiting.remove(key);
        }
        found
    }

    fn take(&self, key: &Key, at_most: usize) -> Vec<QueuedAttempt> {
        let mut waiting = self.lock();
        let Some(crowd) = waiting.get_mut(key) else { return Vec::new() };
        let many = crowd.len().min(at_most);
        crowd.drain(..many).collect()
    }

    fn expire(&self, key: &Key, waited: Duration) {
        let now = Instant::now();
        let late: Vec<_> = match self.lock().get_mut(key) {
            Some(crowd) => crowd.extract_if(.., |one| one.until <= now).collect(),
            None => Vec::new(),
        };
        for one in late {
            one.tell(Err(AttemptError::Refused(OrderError::LockTimeout { waited })));
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Key, Vec<QueuedAttempt>>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl QueuedAttempt {
    fn tell(mut self, ended: AttemptResult) {
        self.attempt.timings.add(Step::Lock, self.since.elapsed());
        let _gone = self.tell.send((self.attempt, ended));
    }
}

fn key_of(attempt: &Attempt) -> Key {
    (attempt.strategy, attempt.lines.iter().map(|line| line.sku.clone()).collect())
}

/// For the lock's sake: it does not ask how many.
fn lines_of((_, skus): &Key) -> Vec<OrderLine> {
    skus.iter().map(|sku| OrderLine { sku: sku.clone(), quantity: 1 }).collect()
}

/// In the trace of the first, and of all the others by reference.
fn span_of(batch: &Batch) -> Span {
    let (strategy, trace_id) = (batch.strategy().name(), trace::current_trace_id().map(tracing::field::display));
    tracing::info_span!("critical_section", strategy, orders = batch.size(), trace_id)
}

#[expect(clippy::cast_precision_loss, reason = "far below 2⁵³")]
fn size(batch: &Batch) -> f64 {
    batch.size() as f64
}
