//! Placing an order, from its idempotency key to its recorded answer, and the
//! loop around the critical section: heal what can be healed, look up what
//! nobody heard, stop at the deadline.
//!
//! Invariant: an error that leaves a write unaccounted for is never reported
//! as a definite failure. No database connection is held while a lock is waited for.

use std::time::Duration;

use rand::RngExt;
use tokio::time::{Instant, sleep};

use crate::domain::error::{Finality, OrderError};
use crate::domain::order::{OrderRequest, OrderStatus, Reservation, Sku};
use crate::http::answer::Answer;
use crate::http::orders::OrderView;
use crate::http::problem;
use crate::outages;
use crate::placement::batcher::Batcher;
use crate::placement::critical_section::{Attempt, CriticalSection};
use crate::placement::outcome::AttemptError;
use crate::placement::timings::{Step, Timings};
use crate::store::orders::{BeginResult, Completion, Database, KeyClaim, KeyedRequest, StoredOrder};

/// After the deadline there is still an answer to record before anybody may
/// take the order over.
const RECORDING_MARGIN: Duration = Duration::from_secs(2);
/// A limit on everything; the deadline usually comes first.
const MAX_ATTEMPTS: usize = 32;
const PAUSE_MS: std::ops::RangeInclusive<u64> = 2..=20;

/// What the client gets.
#[derive(Debug)]
pub enum PlacementResult {
    /// A final answer, recorded just now.
    Final(Answer, Timings),
    /// The answer that was recorded before.
    Replayed(Answer),
    /// Not final: the same key may be tried again.
    Retryable(OrderError, Timings),
}

/// Places orders. Cheap to clone.
#[derive(Debug, Clone)]
pub struct OrderPlacement {
    /// Who passes the critical section together.
    pub batcher: Batcher,
    /// The books.
    pub db: Database,
    /// How long a key keeps its answer.
    pub key_lifetime: Duration,
}

impl OrderPlacement {
    /// Takes the key, passes the critical section, records the answer.
    ///
    /// # Cancel safety
    /// Must run to its end, so it is spawned: if it does not, the order stays
    /// pending until its key falls due, and is resolved then.
    pub async fn place(&self, request: KeyedRequest) -> PlacementResult {
        let deadline = Instant::now() + self.time_budget();
        match self.db.begin(&request, self.claim_duration()).await {
            Ok(BeginResult::Claimed(claim)) => self.work(claim, request.wanted, deadline).await,
            Ok(BeginResult::Answered(answer)) => PlacementResult::Replayed(answer),
            Ok(BeginResult::Reused) => PlacementResult::Retryable(OrderError::KeyReused, Timings::default()),
            Ok(BeginResult::InProgress { at_most }) => {
                PlacementResult::Retryable(OrderError::InProgress { at_most }, Timings::default())
            }
            Err(error) => PlacementResult::Retryable(error, Timings::default()),
        }
    }

    /// The lock, inventory and the provider.
    pub fn section(&self) -> &CriticalSection {
        &self.batcher.section
    }

    /// How long an order may take: waiting for the lock, and once holding it.
    pub fn time_budget(&self) -> Duration {
        self.section().wait + self.section().lease.get()
    }

    /// How long a key stays with whoever took it.
    pub fn claim_duration(&self) -> Duration {
        self.time_budget() + RECORDING_MARGIN
    }

    async fn work(&self, claim: KeyClaim, wanted: OrderRequest, deadline: Instant) -> PlacementResult {
        let OrderRequest { customer, lines } = wanted;
        let KeyClaim { order_id, strategy, maybe_written, .. } = claim;
        let mut attempt = Attempt { order_id, lines, strategy, deadline, maybe_written, timings: Timings::default() };
        let ended = self.retry_until_settled(&mut attempt).await;
        let Attempt { lines, timings, .. } = attempt;
        let order =
            StoredOrder { id: order_id, customer, status: OrderStatus::Pending, strategy, lines, reservation: None };
        metrics::histogram!("order_lock_wait_seconds", "strategy" => strategy.name()).record(timings.of(Step::Lock));
        let outcome = ended.as_ref().map_or_else(OrderError::code, |_| "held");
        metrics::counter!("orders_total", "strategy" => strategy.name(), "outcome" => outcome).increment(1);
        self.record(&claim, order, ended, timings).await
    }

    async fn retry_until_settled(&self, attempt: &mut Attempt) -> Result<Reservation, OrderError> {
        let mut passes = 0;
        let mut error_before = None;
        loop {
            passes += 1;
            let error = match self.batcher.pass(attempt).await {
                Ok(reservation) => return Ok(reservation),
                // The rest of its time was too short for another grant: what
                // took the time before says more than that.
                Err(AttemptError::Refused(timeout @ OrderError::LockTimeout { .. })) => {
                    return Err(unless_write_pending(attempt, error_before.unwrap_or(timeout)));
                }
                Err(AttemptError::Refused(error)) => return Err(unless_write_pending(attempt, error)),
                Err(AttemptError::OutcomeUnknown) => {
                    attempt.maybe_written = true;
                    metrics::counter!("order_outcome_unknown_total", "strategy" => attempt.strategy.name()).increment(1);
                    if !attempt.strategy.claims() {
                        return Err(OrderError::OutcomeUnknown);
                    }
                    OrderError::OutcomeUnknown
                }
                Err(AttemptError::Retry(error)) => error,
            };
            if let OrderError::StaleToken { sku, current, .. } = &error {
                self.raise_token_floor(attempt, sku.as_ref(), *current).await;
            }
            if Instant::now() >= attempt.deadline || passes == MAX_ATTEMPTS {
                return Err(unless_write_pending(attempt, error));
            }
            error_before = Some(error);
            let pause = rand::rng().random_range(PAUSE_MS);
            sleep(Duration::from_millis(pause)).await;
        }
    }

    /// The lock nodes forgot how far they had counted: tell them. Harmless
    /// where they had not.
    pub(crate) async fn raise_token_floor(&self, attempt: &Attempt, sku: Option<&Sku>, current: fenced_lock::Token) {
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
        claim: &KeyClaim,
        mut order: StoredOrder,
        ended: Result<Reservation, OrderError>,
        timings: Timings,
    ) -> PlacementResult {
        let (answer, ending) = match ended {
            Ok(reservation) => {
                (order.status, order.reservation) = (OrderStatus::Held, Some(reservation.clone()));
                let location = format!("/v1/orders/{}", order.id);
                match Answer::created(location, &OrderView::from(order)) {
                    Ok(answer) => (answer, Ok(reservation)),
                    Err(error) => return PlacementResult::Retryable(error, timings),
                }
            }
            Err(error) if error.finality() == Finality::Done => {
                let code = error.code();
                (Answer::of(problem::problem(error)).await, Err(code))
            }
            Err(error) => return self.free_key(claim, error, timings).await,
        };
        let ending = match &ending {
            Ok(reservation) => Completion::Held(reservation, &answer),
            Err(code) => Completion::Refused(code, &answer),
        };
        match self.db.finish(claim, &ending).await {
            Ok(true) => PlacementResult::Final(answer, timings),
            // Somebody took the order over meanwhile; theirs is the answer.
            Ok(false) => PlacementResult::Retryable(OrderError::InProgress { at_most: self.time_budget() }, timings),
            Err(error) => PlacementResult::Retryable(error.into(), timings),
        }
    }

    async fn free_key(&self, claim: &KeyClaim, error: OrderError, timings: Timings) -> PlacementResult {
        let ending = match error.finality() {
            Finality::Unresolved if claim.strategy.claims() => Completion::Unresolved { resolve_after: Duration::ZERO },
            // Nothing can shut the write out, so it is given the time to arrive.
            Finality::Unresolved => Completion::Unresolved { resolve_after: 3 * self.section().lease.get() },
            Finality::Free | Finality::Done => Completion::Failed(error.code()),
        };
        if let Err(error) = self.db.finish(claim, &ending).await {
            tracing::debug!(%error, order = %claim.order_id, "the end of an order was not recorded; its key falls due");
            outages::POSTGRES.record_failure(&error);
        }
        PlacementResult::Retryable(error, timings)
    }
}

/// While an earlier write is unaccounted for, no error is a definite failure,
/// except those that say what became of it.
fn unless_write_pending(attempt: &Attempt, error: OrderError) -> OrderError {
    if !attempt.maybe_written || error.excludes_earlier_write() {
        return error;
    }
    tracing::debug!(%error, order = %attempt.order_id, "an outcome stays unknown for now");
    OrderError::OutcomeUnknown
}
