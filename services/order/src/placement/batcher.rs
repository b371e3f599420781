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
use crate::domain::order::{Line, Sku};
use crate::placement::batch::{Ended, Party};
use crate::placement::critical_section::{Attempt, CriticalSection};
use crate::placement::outcome::Setback;
use crate::placement::timings::Step;
use crate::strategy::Strategy;

/// Most orders waiting for the same SKUs; more are too much work at once.
const MOST_WAITING: usize = 1024;

type Key = (Strategy, Vec<Sku>);

/// Everybody who waits for a grant in this replica. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Crowds {
    /// What they pass.
    pub section: CriticalSection,
    largest_party: usize,
    waiting: Arc<Mutex<HashMap<Key, Vec<Waiting>>>>,
    conductors: TaskTracker,
}

/// One order, until it is taken along.
#[derive(Debug)]
struct Waiting {
    attempt: Attempt,
    since: Instant,
    until: Instant,
    /// The request it belongs to; whoever conducts outlives that.
    trace: Trace,
    tell: oneshot::Sender<(Attempt, Ended)>,
}

impl Crowds {
    /// Nobody waits yet. At most `largest_party` orders share a grant; where
    /// that is one, each stands at the lock by itself.
    pub fn new(section: CriticalSection, largest_party: usize) -> Self {
        Self { section, largest_party, waiting: Arc::default(), conductors: TaskTracker::new() }
    }

    /// One pass through the critical section, alone or with others.
    ///
    /// # Cancel safety
    /// An order that was taken along goes on without its caller.
    pub async fn pass(&self, attempt: &mut Attempt) -> Ended {
        let left = attempt.deadline.saturating_duration_since(Instant::now());
        let wait = self.section.wait.min(left);
        let (after, ended) = if attempt.strategy.claims() && self.largest_party > 1 {
            self.pass_with_others(attempt, wait).await?
        } else {
            self.pass_alone(attempt, wait).await?
        };
        *attempt = after;
        ended
    }

    /// Resolves when every lock has been given back.
    pub async fn dispersed(&self) {
        self.conductors.close();
        self.conductors.wait().await;
    }

    async fn pass_alone(&self, attempt: &mut Attempt, wait: Duration) -> Result<(Attempt, Ended), Setback> {
        let acquiring = self.section.acquire(attempt.strategy, &attempt.lines, wait);
        let grants = attempt.timings.measure(Step::Lock, acquiring).await?;
        let mut party = Party::of([attempt.clone()]);
        let span = span_of(&party);
        self.section.pass(&mut party, grants).instrument(span).await;
        party.disband().next().ok_or(Setback::Refused(OrderError::Defect("a party of nobody")))
    }

    async fn pass_with_others(&self, attempt: &mut Attempt, wait: Duration) -> Result<(Attempt, Ended), Setback> {
        let (since, key) = (Instant::now(), key_of(attempt));
        let until = since + wait;
        let mut told = self.join(&key, attempt.clone(), since, until)?;
        if let Ok(told) = timeout_at(until, &mut told).await {
            return told.map_err(|_gone| Setback::Unheard);
        }
        if self.leave(&key, attempt) {
            attempt.timings.add(Step::Lock, since.elapsed());
            return Err(Setback::Refused(OrderError::LockTimeout { waited: wait }));
        }
        told.await.map_err(|_gone| Setback::Unheard) // it was taken along just then
    }

    /// Waits with the others; whoever finds the place empty sends a conductor.
    fn join(
        &self,
        key: &Key,
        attempt: Attempt,
        since: Instant,
        until: Instant,
    ) -> Result<oneshot::Receiver<(Attempt, Ended)>, Setback> {
        let (tell, told) = oneshot::channel();
        let newcomer = Waiting { attempt, since, until, trace: trace::here(), tell };
        let mut waiting = self.lock();
        match waiting.get_mut(key) {
            Some(crowd) if crowd.len() >= MOST_WAITING => return Err(Setback::Refused(OrderError::Overloaded)),
            Some(crowd) => crowd.push(newcomer),
            None => {
                waiting.insert(key.clone(), vec![newcomer]);
                self.conductors.spawn(self.clone().conduct(key.clone()));
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
    async fn conduct(self, key: Key) {
        let (strategy, lines) = (key.0, lines_of(&key));
        while let Some((longest, trace)) = self.longest_wait(&key) {
            match trace.carry(self.section.acquire(strategy, &lines, longest)).await {
                Ok(grants) => self.take_along(&key, grants).await,
                Err(Setback::Refused(OrderError::LockTimeout { waited })) => self.send_away_the_late(&key, waited),
                Err(setback) => {
                    for one in self.take(&key, MOST_WAITING) {
                        one.tell(Err(setback.clone()));
                    }
                }
            }
        }
    }

    async fn take_along(&self, key: &Key, grants: Grants) {
        let (mut attempts, mut listeners, mut traces) = (Vec::new(), Vec::new(), Vec::new());
        for Waiting { mut attempt, since, trace, tell, until: _ } in self.take(key, self.largest_party) {
            attempt.timings.add(Step::Lock, since.elapsed());
            attempts.push(attempt);
            listeners.push(tell);
            traces.push(trace);
        }
        let Some((first, others)) = traces.split_first() else {
            let _released = grants.release().await; // everybody's wait was over
            return;
        };
        let mut party = Party::of(attempts);
        metrics::histogram!("order_party_size", "strategy" => key.0.name()).record(size(&party));
        let passing = async {
            let span = span_of(&party);
            for other in others {
                other.shares(&span);
            }
            self.section.pass(&mut party, grants).instrument(span).await;
        };
        first.clone().carry(passing).await;
        for (listener, ended) in listeners.into_iter().zip(party.disband()) {
            let _gone = listener.send(ended);
        }
    }

    /// How long the most patient one still waits, and for which request the lock
    /// is asked; the place is closed when nobody is there.
    fn longest_wait(&self, key: &Key) -> Option<(Duration, Trace)> {
        let mut waiting = self.lock();
        let crowd = waiting.get(key)?;
        let latest = crowd.iter().map(|one| one.until).max().zip(crowd.first());
        let found = latest.map(|(until, first)| (until.saturating_duration_since(Instant::now()), first.trace.clone()));
        if found.is_none() {
            waiting.remove(key);
        }
        found
    }

    fn take(&self, key: &Key, at_most: usize) -> Vec<Waiting> {
        let mut waiting = self.lock();
        let Some(crowd) = waiting.get_mut(key) else { return Vec::new() };
        let many = crowd.len().min(at_most);
        crowd.drain(..many).collect()
    }

    fn send_away_the_late(&self, key: &Key, waited: Duration) {
        let now = Instant::now();
        let late: Vec<_> = match self.lock().get_mut(key) {
            Some(crowd) => crowd.extract_if(.., |one| one.until <= now).collect(),
            None => Vec::new(),
        };
        for one in late {
            one.tell(Err(Setback::Refused(OrderError::LockTimeout { waited })));
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Key, Vec<Waiting>>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Waiting {
    fn tell(mut self, ended: Ended) {
        self.attempt.timings.add(Step::Lock, self.since.elapsed());
        let _gone = self.tell.send((self.attempt, ended));
    }
}

fn key_of(attempt: &Attempt) -> Key {
    (attempt.strategy, attempt.lines.iter().map(|line| line.sku.clone()).collect())
}

/// For the lock's sake: it does not ask how many.
fn lines_of((_, skus): &Key) -> Vec<Line> {
    skus.iter().map(|sku| Line { sku: sku.clone(), quantity: 1 }).collect()
}

/// In the trace of the first, and of all the others by reference.
fn span_of(party: &Party) -> Span {
    let (strategy, trace_id) = (party.strategy().name(), trace::current_trace_id().map(tracing::field::display));
    tracing::info_span!("critical_section", strategy, orders = party.size(), trace_id)
}

#[expect(clippy::cast_precision_loss, reason = "far below 2⁵³")]
fn size(party: &Party) -> f64 {
    party.size() as f64
}
