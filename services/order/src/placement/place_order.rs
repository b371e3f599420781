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
        error::OrderError,
        order::{Order, OrderRequest, OrderStatus, Reservation},
    },
    placement::{
        attempt_error::AttemptError,
        batch::{Attempt, Step, Timings},
        batcher::Batcher,
        critical_section::CriticalSection,
        short_skus::ShortSkus,
        sku_limit::SkuLimit,
    },
    store::{
        database::Database,
        key_records::{Answer, BeginResult, EarlierWrite, KeyClaim, KeyedRequest},
    },
};

/// After its deadline an order still records its answer; only then is its claim overdue.
const RECORDING_MARGIN: Duration = Duration::from_secs(2);
/// The deadline usually comes first.
const MAX_ATTEMPTS: usize = 32;
const RETRY_PAUSE_MS: std::ops::RangeInclusive<u64> = 2..=20;

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
    /// The SKUs that were sold out when they were last seen.
    pub short_skus: ShortSkus,
    /// Leaves room for orders of other SKUs.
    pub sku_limit: SkuLimit,
    /// How long a key keeps its answer.
    pub key_lifetime: Duration,
    /// How long orders that are over are kept; `None`: for good.
    pub retained_for: Option<Duration>,
    /// Renders the answers that are recorded.
    pub render: RenderAnswer,
    /// Orders in progress.
    pub tasks: TaskTracker,
}

impl OrderPlacement {
    /// Claims the key, passes the critical section, records the answer. Drops `place` once that is done:
    /// the order's place among those in progress.
    ///
    /// # Cancel safety
    /// The order is placed all the same.
    pub async fn place(&self, request: KeyedRequest, place: impl Send + 'static) -> PlacementResult {
        let placement = self.clone();
        let work = async move {
            let placed = placement.begin_and_place(request).await;
            drop(place);
            placed
        };
        let placed = self.run_to_end(work).await;
        placed.unwrap_or_else(|error| PlacementResult::Retryable(error, Timings::default()))
    }

    /// Runs `work` to its end though the caller stops waiting, in the trace of
    /// the caller. It begins now, not at the first poll.
    ///
    /// # Errors
    /// `work` panicked, which the log reports.
    pub(crate) fn run_to_end<W>(&self, work: W) -> impl Future<Output = Result<W::Output, OrderError>> + use<W>
    where
        W: Future<Output: Send> + Send + 'static,
    {
        let task = self.tasks.spawn(service_kit::trace::in_current_trace(work));
        async { task.await.map_err(|_panicked| OrderError::Defect("the task of an order panicked")) }
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
        if let Some(shortage) = self.shortage(&request).await {
            return PlacementResult::Retryable(shortage, Timings::default());
        }
        let error = match self.db.begin(&request, self.claim_duration(), self.section().arrival()).await {
            // Boxed, so that a refusal does not pay for the memory of an order.
            Ok(BeginResult::Claimed(claim)) => {
                return Box::pin(self.place_claimed(claim, request.order, deadline)).await;
            }
            Ok(BeginResult::Answered(answer)) => return PlacementResult::Replayed(answer),
            Ok(BeginResult::Reused) => OrderError::KeyReused,
            Ok(BeginResult::InProgress { at_most }) => OrderError::InProgress { at_most },
            Err(error) => error,
        };
        PlacementResult::Retryable(error, Timings::default())
    }

    async fn place_claimed(&self, claim: KeyClaim, request: OrderRequest, deadline: Instant) -> PlacementResult {
        let OrderRequest { customer, lines } = request;
        let KeyClaim { order_id, strategy, earlier_write, .. } = claim;
        let mut attempt = Attempt {
            order_id,
            lines,
            strategy,
            deadline,
            payment_allowance: self.section().payments.limit(),
            earlier_write,
            unanswered: false,
            timings: Timings::default(),
        };
        let result = match self.sku_limit.enter(&attempt.lines) {
            Ok(_places) => self.retry_until_settled(&mut attempt).await,
            Err(error) => Err(unless_write_pending(&attempt, error)),
        };
        let lines = std::mem::take(&mut attempt.lines);
        let order = Order { id: order_id, customer, status: OrderStatus::Pending, strategy, lines, reservation: None };
        if let Err(OrderError::OutOfStock { sku, available }) = &result {
            self.short_skus.record(sku, *available);
        }
        metrics::histogram!("order_lock_wait_seconds", "strategy" => strategy.name())
            .record(attempt.timings.of(Step::Lock));
        let outcome = result.as_ref().map_or_else(|error| error.code().as_str(), |_| OrderStatus::Held.name());
        metrics::counter!("orders_total", "strategy" => strategy.name(), "outcome" => outcome).increment(1);
        self.record(&claim, order, result, attempt).await
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
                    (attempt.earlier_write, attempt.unanswered) = (EarlierWrite::Pending, true);
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
}

/// The error, unless an earlier write of the order may still count: then its
/// outcome is unknown.
fn unless_write_pending(attempt: &Attempt, error: OrderError) -> OrderError {
    if attempt.earlier_write == EarlierWrite::None || error.excludes_earlier_write() {
        return error;
    }
    tracing::debug!(%error, order = %attempt.order_id, "outcome of an earlier write unknown; the key stays unresolved");
    dependencies::record_failure(&error);
    OrderError::OutcomeUnknown
}
