//! Placing an order, from its idempotency key to its recorded answer, and the
//! loop around the critical section: heal what can be healed, look up what
//! nobody heard, stop at the deadline.
//!
//! Invariant: an error that leaves a write unaccounted for is never reported
//! as a definite failure. No database connection is held while a lock is waited for.

use std::time::Duration;

use rand::RngExt;
use tokio::time::{Instant, sleep};

use crate::domain::error::{KeyFate, OrderError};
use crate::domain::order::{OrderStatus, Reservation, Sku, Wanted};
use crate::http::answer::Answer;
use crate::http::orders::OrderView;
use crate::http::problem;
use crate::outages;
use crate::placement::batcher::Crowds;
use crate::placement::critical_section::{Attempt, CriticalSection};
use crate::placement::outcome::Setback;
use crate::placement::timings::{Step, Timings};
use crate::store::orders::{Begun, Ending, OrdersDb, Owned, Request, StoredOrder};

/// After the deadline there is still an answer to record before anybody may
/// take the order over.
const TIME_TO_RECORD: Duration = Duration::from_secs(2);
/// A limit on everything; the deadline usually comes first.
const MOST_PASSES: usize = 32;
const PAUSE_MS: std::ops::RangeInclusive<u64> = 2..=20;

/// What the client gets.
#[derive(Debug)]
pub enum Placed {
    /// A final answer, recorded just now.
    Now(Answer, Timings),
    /// The answer that was recorded before.
    Before(Answer),
    /// Not final: the same key may be tried again.
    NotYet(OrderError, Timings),
}

/// Places orders. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Placing {
    /// Who passes the critical section together.
    pub crowds: Crowds,
    /// The books.
    pub db: OrdersDb,
    /// How long a key keeps its answer.
    pub key_life: Duration,
}

impl Placing {
    /// Takes the key, passes the critical section, records the answer.
    ///
    /// # Cancel safety
    /// Must run to its end, so it is spawned: if it does not, the order stays
    /// pending until its key falls due, and is resolved then.
    pub async fn place(&self, request: Request) -> Placed {
        let deadline = Instant::now() + self.patience();
        match self.db.begin(&request, self.in_flight_for()).await {
            Ok(Begun::Owned(owned)) => self.work(owned, request.wanted, deadline).await,
            Ok(Begun::Answered(answer)) => Placed::Before(answer),
            Ok(Begun::Reused) => Placed::NotYet(OrderError::KeyReused, Timings::default()),
            Ok(Begun::InProgress { at_most }) => Placed::NotYet(OrderError::InProgress { at_most }, Timings::default()),
            Err(error) => Placed::NotYet(error, Timings::default()),
        }
    }

    /// The lock, inventory and the provider.
    pub fn section(&self) -> &CriticalSection {
        &self.crowds.section
    }

    /// How long an order may take: waiting for the lock, and once holding it.
    pub fn patience(&self) -> Duration {
        self.section().wait + self.section().lease.get()
    }

    /// How long a key stays with whoever took it.
    pub fn in_flight_for(&self) -> Duration {
        self.patience() + TIME_TO_RECORD
    }

    async fn work(&self, owned: Owned, wanted: Wanted, deadline: Instant) -> Placed {
        let Wanted { customer, lines } = wanted;
        let Owned { order_id, strategy, maybe_sent, .. } = owned;
        let mut attempt = Attempt { order_id, lines, strategy, deadline, maybe_sent, timings: Timings::default() };
        let ended = self.until_settled(&mut attempt).await;
        let Attempt { lines, timings, .. } = attempt;
        let order =
            StoredOrder { id: order_id, customer, status: OrderStatus::Pending, strategy, lines, reservation: None };
        metrics::histogram!("order_lock_wait_seconds", "strategy" => strategy.name()).record(timings.of(Step::Lock));
        let outcome = ended.as_ref().map_or_else(OrderError::code, |_| "held");
        metrics::counter!("orders_total", "strategy" => strategy.name(), "outcome" => outcome).increment(1);
        self.record(&owned, order, ended, timings).await
    }

    async fn until_settled(&self, attempt: &mut Attempt) -> Result<Reservation, OrderError> {
        let mut passes = 0;
        let mut setback = None;
        loop {
            passes += 1;
            let error = match self.crowds.pass(attempt).await {
                Ok(reservation) => return Ok(reservation),
                // The rest of its time was too short for another grant: what
                // took the time before says more than that.
                Err(Setback::Refused(timeout @ OrderError::LockTimeout { .. })) => {
                    return Err(accounted_for(attempt, setback.unwrap_or(timeout)));
                }
                Err(Setback::Refused(error)) => return Err(accounted_for(attempt, error)),
                Err(Setback::Unheard) => {
                    attempt.maybe_sent = true;
                    metrics::counter!("order_unheard_total", "strategy" => attempt.strategy.name()).increment(1);
                    if !attempt.strategy.claims() {
                        return Err(OrderError::Unheard);
                    }
                    OrderError::Unheard
                }
                Err(Setback::TryAgain(error)) => error,
            };
            if let OrderError::StaleToken { sku, current, .. } = &error {
                self.heal(attempt, sku.as_ref(), *current).await;
            }
            if Instant::now() >= attempt.deadline || passes == MOST_PASSES {
                return Err(accounted_for(attempt, error));
            }
            setback = Some(error);
            let pause = rand::rng().random_range(PAUSE_MS);
            sleep(Duration::from_millis(pause)).await;
        }
    }

    /// The lock nodes forgot how far they had counted: tell them. Harmless
    /// where they had not.
    pub(crate) async fn heal(&self, attempt: &Attempt, sku: Option<&Sku>, current: fenced_lock::Token) {
        metrics::counter!("order_stale_tokens_total", "strategy" => attempt.strategy.name()).increment(1);
        let behind = attempt.lines.iter().map(|line| &line.sku).filter(|one| sku.is_none_or(|sku| sku == *one));
        let Ok(locks) = self.section().locks.of(attempt.strategy) else { return };
        for resource in behind.filter_map(|sku| crate::placement::locks::resource(sku).ok()) {
            if let Err(error) = locks.raise_floor(&resource, current).await {
                tracing::warn!(%error, %resource, "the token floor was not raised; the next attempt will tell");
            }
        }
    }

    pub(crate) async fn record(
        &self,
        owned: &Owned,
        mut order: StoredOrder,
        ended: Result<Reservation, OrderError>,
        timings: Timings,
    ) -> Placed {
        let (answer, ending) = match ended {
            Ok(reservation) => {
                (order.status, order.reservation) = (OrderStatus::Held, Some(reservation.clone()));
                let location = format!("/v1/orders/{}", order.id);
                match Answer::created(location, &OrderView::from(order)) {
                    Ok(answer) => (answer, Ok(reservation)),
                    Err(error) => return Placed::NotYet(error, timings),
                }
            }
            Err(error) if error.key_fate() == KeyFate::Done => {
                let code = error.code();
                (Answer::of(problem::problem(error)).await, Err(code))
            }
            Err(error) => return self.give_back(owned, error, timings).await,
        };
        let ending = match &ending {
            Ok(reservation) => Ending::Held(reservation, &answer),
            Err(code) => Ending::Refused(code, &answer),
        };
        match self.db.finish(owned, &ending).await {
            Ok(true) => Placed::Now(answer, timings),
            // Somebody took the order over meanwhile; theirs is the answer.
            Ok(false) => Placed::NotYet(OrderError::InProgress { at_most: self.patience() }, timings),
            Err(error) => Placed::NotYet(error.into(), timings),
        }
    }

    async fn give_back(&self, owned: &Owned, error: OrderError, timings: Timings) -> Placed {
        let ending = match error.key_fate() {
            KeyFate::Unresolved if owned.strategy.claims() => Ending::Unresolved { look_after: Duration::ZERO },
            // Nothing can shut the write out, so it is given the time to arrive.
            KeyFate::Unresolved => Ending::Unresolved { look_after: 3 * self.section().lease.get() },
            KeyFate::Free | KeyFate::Done => Ending::Failed(error.code()),
        };
        if let Err(error) = self.db.finish(owned, &ending).await {
            tracing::debug!(%error, order = %owned.order_id, "the end of an order was not recorded; its key falls due");
            outages::POSTGRES.record_failure(&error);
        }
        Placed::NotYet(error, timings)
    }
}

/// While an earlier write is unaccounted for, no error is a definite failure,
/// except those that say what became of it.
fn accounted_for(attempt: &Attempt, error: OrderError) -> OrderError {
    if !attempt.maybe_sent || error.rules_out_an_earlier_write() {
        return error;
    }
    tracing::debug!(%error, order = %attempt.order_id, "an outcome stays unknown for now");
    OrderError::Unheard
}
