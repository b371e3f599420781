//! Placing an order, from its idempotency key to its recorded answer, and the
//! retries of the critical section until the order has a result or its deadline
//! has passed.
//!
//! Invariant: an error that leaves the outcome of a write unknown is never
//! reported as a definite failure.
//! Absence: no database connection is held while an order waits for a lock.

use std::time::Duration;

use futures_util::future::BoxFuture;
use rand::RngExt;
use tokio::time::{Instant, sleep};
use tokio_util::task::TaskTracker;

use crate::{
    dependencies,
    domain::{
        error::{Finality, OrderError},
        order::{Order, OrderRequest, OrderStatus, Reservation},
    },
    placement::{
        attempt_error::AttemptError,
        batch::{Attempt, Step, Timings},
        batcher::Batcher,
        critical_section::CriticalSection,
        sku_limit::SkuLimit,
    },
    store::{
        database::Database,
        key_records::{Answer, BeginResult, Completion, KeyClaim, KeyedRequest},
    },
};

/// After its deadline an order still records its answer; only then is its claim overdue.
const RECORDING_MARGIN: Duration = Duration::from_secs(2);
/// The deadline usually comes first.
const MAX_ATTEMPTS: usize = 32;
/// When a client asks again for an order that another attempt works on.
const ASK_AGAIN: Duration = Duration::from_secs(1);
const RETRY_PAUSE_MS: std::ops::RangeInclusive<u64> = 2..=20;
/// How long the reconciler leaves an order alone after its second attempt; twice as long after each further one.
const FIRST_PAUSE: Duration = Duration::from_millis(500);
/// Once the cause has gone, the order is resolved after at most this time, two rounds and its turn.
const LONGEST_PAUSE: Duration = Duration::from_secs(8);

/// Renders a final answer as it is sent. HTTP supplies it, since the bytes are
/// recorded with the order and replayed.
pub type RenderAnswer = fn(Result<Order, OrderError>) -> BoxFuture<'static, Result<Answer, OrderError>>;

/// The answer to a request.
#[derive(Debug)]
pub enum PlacementResult {
    /// Final, and recorded by this attempt.
    Final(Answer, Timings),
    /// Final, and recorded by an earlier one.
    Replayed(Answer),
    /// Not final: a retry with the same key may succeed.
    Retryable(OrderError, Timings),
}

/// Places orders. Cheap to clone.
#[derive(Debug, Clone)]
pub struct OrderPlacement {
    /// Passes the critical section, in batches.
    pub batcher: Batcher,
    /// The order database.
    pub db: Database,
    /// Leaves room for orders of other SKUs.
    pub sku_limit: SkuLimit,
    /// How long a key keeps its answer.
    pub key_lifetime: Duration,
    /// Renders the answers that are recorded.
    pub render: RenderAnswer,
    /// Orders in progress.
    pub tasks: TaskTracker,
}

impl OrderPlacement {
    /// Claims the key, passes the critical section, records the answer.
    ///
    /// # Cancel safety
    /// The order is placed all the same.
    pub async fn place(&self, request: KeyedRequest) -> PlacementResult {
        let placement = self.clone();
        let placed = self.run_to_end(async move { placement.begin_and_place(request).await }).await;
        placed.unwrap_or_else(|error| PlacementResult::Retryable(error, Timings::default()))
    }

    /// Runs `work` to its end though the caller stops waiting, in the trace of
    /// the caller.
    ///
    /// # Errors
    /// `work` panicked, which the log reports.
    pub(crate) async fn run_to_end<T: Send + 'static>(
        &self,
        work: impl Future<Output = T> + Send + 'static,
    ) -> Result<T, OrderError> {
        let task = self.tasks.spawn(service_kit::trace::in_current_trace(work));
        task.await.map_err(|_panicked| OrderError::Defect("the task of an order panicked"))
    }

    /// The locks, inventory and the payment provider.
    pub fn section(&self) -> &CriticalSection {
        &self.batcher.section
    }

    /// How long an order may take without its payment: the wait for the lock, and the lease.
    pub fn time_budget(&self) -> Duration {
        self.section().wait + self.section().lease.get()
    }

    /// How long a claimed key belongs to its attempt.
    pub fn claim_duration(&self) -> Duration {
        self.time_budget() + self.section().payments.limit() + RECORDING_MARGIN
    }

    async fn begin_and_place(&self, request: KeyedRequest) -> PlacementResult {
        let deadline = Instant::now() + self.time_budget();
        let error = match self.db.begin(&request, self.claim_duration()).await {
            Ok(BeginResult::Claimed(claim)) => return self.place_claimed(claim, request.order, deadline).await,
            Ok(BeginResult::Answered(answer)) => return PlacementResult::Replayed(answer),
            Ok(BeginResult::Reused) => OrderError::KeyReused,
            Ok(BeginResult::InProgress { at_most }) => OrderError::InProgress { at_most },
            Err(error) => error,
        };
        PlacementResult::Retryable(error, Timings::default())
    }

    async fn place_claimed(&self, claim: KeyClaim, request: OrderRequest, deadline: Instant) -> PlacementResult {
        let OrderRequest { customer, lines } = request;
        let KeyClaim { order_id, strategy, maybe_written, .. } = claim;
        let mut attempt = Attempt {
            order_id,
            lines,
            strategy,
            deadline,
            payment_allowance: self.section().payments.limit(),
            maybe_written,
            timings: Timings::default(),
        };
        let result = match self.sku_limit.enter(&attempt.lines) {
            Ok(_places) => self.retry_until_settled(&mut attempt).await,
            Err(error) => Err(unless_write_pending(&attempt, error)),
        };
        let Attempt { lines, timings, .. } = attempt;
        let order = Order { id: order_id, customer, status: OrderStatus::Pending, strategy, lines, reservation: None };
        metrics::histogram!("order_lock_wait_seconds", "strategy" => strategy.name()).record(timings.of(Step::Lock));
        let outcome = result.as_ref().map_or_else(|error| error.code().as_str(), |_| OrderStatus::Held.name());
        metrics::counter!("orders_total", "strategy" => strategy.name(), "outcome" => outcome).increment(1);
        self.record(&claim, order, result, timings).await
    }

    async fn retry_until_settled(&self, attempt: &mut Attempt) -> Result<Reservation, OrderError> {
        let mut attempts = 0;
        let mut previous = None;
        loop {
            attempts += 1;
            let error = match self.batcher.attempt(attempt).await {
                Ok(reservation) => return Ok(reservation),
                // The time that was left was too short for another grant: the
                // error before is more specific.
                Err(AttemptError::Refused(timeout @ OrderError::LockTimeout { .. })) => {
                    return Err(unless_write_pending(attempt, previous.unwrap_or(timeout)));
                }
                Err(AttemptError::Refused(error)) => return Err(unless_write_pending(attempt, error)),
                Err(AttemptError::OutcomeUnknown) => {
                    attempt.maybe_written = true;
                    metrics::counter!("order_outcome_unknown_total", "strategy" => attempt.strategy.name())
                        .increment(1);
                    if !attempt.strategy.claims() {
                        return Err(OrderError::OutcomeUnknown);
                    }
                    OrderError::OutcomeUnknown
                }
                Err(AttemptError::Retry(error)) => error,
            };
            if let OrderError::StaleToken { sku, current, .. } = &error {
                self.section().raise_token_floor(attempt, sku.as_ref(), *current).await;
            }
            if Instant::now() >= attempt.deadline || attempts == MAX_ATTEMPTS {
                return Err(unless_write_pending(attempt, error));
            }
            previous = Some(error);
            let pause = rand::rng().random_range(RETRY_PAUSE_MS);
            sleep(Duration::from_millis(pause)).await;
        }
    }

    /// Records how an attempt ended, and the answer if it is final.
    pub(super) async fn record(
        &self,
        claim: &KeyClaim,
        mut order: Order,
        result: Result<Reservation, OrderError>,
        timings: Timings,
    ) -> PlacementResult {
        let (reservation, rendered) = match result {
            Ok(reservation) => {
                (order.status, order.reservation) = (OrderStatus::Held, Some(reservation.clone()));
                (Ok(reservation), (self.render)(Ok(order)).await)
            }
            Err(error) if error.finality() == Finality::Final => (Err(error.code()), (self.render)(Err(error)).await),
            Err(error) => return self.free_key(claim, error, timings).await,
        };
        let answer = match rendered {
            Ok(answer) => answer,
            Err(error) => return PlacementResult::Retryable(error, timings),
        };
        let completion = match &reservation {
            Ok(reservation) => Completion::Held(reservation, &answer),
            Err(code) => Completion::Refused(*code, &answer),
        };
        match self.db.complete(claim, &completion).await {
            Ok(true) => PlacementResult::Final(answer, timings),
            // Another attempt has taken the order over, and records its answer.
            Ok(false) => PlacementResult::Retryable(OrderError::InProgress { at_most: ASK_AGAIN }, timings),
            Err(error) => PlacementResult::Retryable(error.into(), timings),
        }
    }

    /// Leaves the key to the next attempt: free, or unresolved if a write may have been received.
    async fn free_key(&self, claim: &KeyClaim, error: OrderError, timings: Timings) -> PlacementResult {
        let pause = pause_after(claim.attempt);
        let completion = match error.finality() {
            Finality::Unresolved if claim.strategy.claims() => Completion::Unresolved { resolve_after: pause },
            // Nothing can shut the write out, so it gets the time to arrive.
            Finality::Unresolved => Completion::Unresolved { resolve_after: pause.max(3 * self.section().lease.get()) },
            Finality::Retryable | Finality::Final => Completion::Failed(error.code()),
        };
        if let Err(error) = self.db.complete(claim, &completion).await {
            tracing::debug!(%error, order = %claim.order_id, "end of the order not recorded; its key falls due and is reconciled");
            dependencies::record_failure(&error.into());
        }
        PlacementResult::Retryable(error, timings)
    }
}

/// The pause before the reconciler tries an unresolved order again. A retry of the client does not wait for it.
fn pause_after(attempt: i32) -> Duration {
    let Ok(doublings) = u32::try_from(attempt.saturating_sub(2)) else { return Duration::ZERO };
    FIRST_PAUSE.saturating_mul(2_u32.saturating_pow(doublings)).min(LONGEST_PAUSE)
}

/// The error, unless an earlier write of the order may still count: then its
/// outcome is unknown.
fn unless_write_pending(attempt: &Attempt, error: OrderError) -> OrderError {
    if !attempt.maybe_written || error.excludes_earlier_write() {
        return error;
    }
    tracing::debug!(%error, order = %attempt.order_id, "outcome of an earlier write unknown; the key stays unresolved");
    OrderError::OutcomeUnknown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_attempt_is_followed_at_once_and_later_ones_after_doubling_pauses_up_to_the_longest() {
        let pauses = [1, 2, 3, 4, 5, 6, 7, i32::MAX].map(|attempt| pause_after(attempt).as_millis());
        assert_eq!(pauses, [0, 500, 1_000, 2_000, 4_000, 8_000, 8_000, 8_000]);
    }
}
