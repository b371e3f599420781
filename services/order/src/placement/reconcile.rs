//! Settles the orders that a crash or an unknown outcome left pending, and the held
//! orders whose reservation may have ended, at start and then periodically. An order
//! is taken over exactly as a retry of its client would do, so that the two never
//! work on it at the same time.
//!
//! Invariant: what takes long does not delay the rest. A round begins work and does not wait for it, no SKU has more
//! than one round's orders under way, and what could not be done goes to the back of the queue.
//! Absence: nothing is sold here.

use std::{collections::HashMap, time::Duration};

use tokio::{
    task::{Id, JoinError, JoinSet},
    time::{Instant, sleep, timeout_at},
};
use tokio_util::sync::CancellationToken;

use crate::{
    dependencies,
    domain::{error::OrderError, order::Reservation},
    placement::{
        attempt_error::AttemptError,
        batch::{Attempt, Timings},
        housekeeping, lifecycle,
        place_order::OrderPlacement,
    },
    store::key_records::KeyClaim,
};

/// Most orders, and most reviews, that one round begins; the next round takes the next.
const ROUND_SIZE: usize = 64;
/// Most orders, and most reviews, under way at once.
const MOST_UNDER_WAY: usize = 4 * ROUND_SIZE;
/// The longest pause between two reviews of an order.
const LONGEST_REVIEW_PAUSE: Duration = Duration::from_secs(30);
/// A token floor that was raised and is still too low waits for the next round.
const MAX_ATTEMPTS: usize = 4;

/// Reconciles until `stop`, and then finishes what is under way; a round that failed is followed by the next.
///
/// # Cancel safety
/// What is under way ends. The orders that were claimed fall due again.
pub async fn run(placement: OrderPlacement, every: Duration, stop: CancellationToken) {
    let mut work = Work::default();
    while !stop.is_cancelled() {
        // An error is logged where it occurs.
        let _begun = work.begin(&placement).await;
        report_pool_usage(&placement);
        tokio::select! {
            () = sleep(every) => {}
            () = stop.cancelled() => {}
        }
        report_settled(work.ended());
    }
    report_settled(work.finish().await);
}

/// One round to its end, with housekeeping; the number of orders and payments that were settled.
///
/// # Errors
/// The database failed in one of the steps; the others were done.
pub async fn round(placement: &OrderPlacement) -> Result<u64, OrderError> {
    let mut work = Work::default();
    let begun = work.begin(placement).await;
    let mut settled = work.finish().await;
    loop {
        let batch = housekeeping::batch(placement).await?;
        settled += batch.settled;
        if !batch.full {
            return begun.map(|()| settled);
        }
    }
}

fn report_settled(settled: u64) {
    if settled > 0 {
        tracing::info!(settled, "orders reconciled");
    }
}

fn report_pool_usage(placement: &OrderPlacement) {
    let (used, open) = placement.db.pool_usage();
    metrics::gauge!("order_db_connections_used").set(f64::from(used));
    metrics::gauge!("order_db_connections_open").set(f64::from(open));
}

/// The work under way. Dropping it ends the work.
#[derive(Debug, Default)]
struct Work {
    orders: JoinSet<bool>,
    /// The SKUs of each order under way: while some are, no more orders for the same SKUs are claimed.
    skus: HashMap<Id, String>,
    reviews: JoinSet<bool>,
}

impl Work {
    /// Begins what is due, as far as there is room. Failures are logged, and one does not keep the other from beginning.
    async fn begin(&mut self, placement: &OrderPlacement) -> Result<(), OrderError> {
        let claimed = self.begin_orders(placement).await;
        let taken = self.begin_reviews(placement).await;
        for error in [&claimed, &taken].into_iter().filter_map(|begun| begun.as_ref().err()) {
            tracing::debug!(%error, "part of a round of reconciliation not begun; the next round tries again");
            dependencies::record_failure(error);
        }
        claimed.and(taken)
    }

    async fn begin_orders(&mut self, placement: &OrderPlacement) -> Result<(), OrderError> {
        let busy: Vec<_> = self.skus.values().map(String::as_str).collect();
        let claims = placement.db.claim_overdue(room(&self.orders), placement.claim_duration(), &busy).await?;
        for overdue in claims {
            let own = placement.clone();
            let task = self.orders.spawn(async move { settle(&own, &overdue.claim).await });
            self.skus.insert(task.id(), overdue.skus);
        }
        Ok(())
    }

    async fn begin_reviews(&mut self, placement: &OrderPlacement) -> Result<(), OrderError> {
        // A review ends before the order is due again.
        let within = placement.section().lease.get();
        let due = placement.db.take_orders_to_review(room(&self.reviews), within, LONGEST_REVIEW_PAUSE).await?;
        for id in due {
            let own = placement.clone();
            self.reviews.spawn(async move {
                let reviewed = lifecycle::review(&own, id, within).await;
                let failed = reviewed.as_ref().err();
                failed
                    .inspect(|error| tracing::debug!(%error, order = %id, "order not reviewed; it is due again later"));
                reviewed.unwrap_or(false)
            });
        }
        Ok(())
    }

    /// The number of orders that have been settled since.
    fn ended(&mut self) -> u64 {
        let mut settled = 0;
        while let Some(ended) = self.orders.try_join_next_with_id() {
            settled += self.order_ended(ended);
        }
        while let Some(ended) = self.reviews.try_join_next() {
            settled += u64::from(ended.unwrap_or_else(|panicked| record_panic(&panicked)));
        }
        settled
    }

    /// The same, once everything has ended.
    async fn finish(mut self) -> u64 {
        let mut settled = 0;
        while let Some(ended) = self.orders.join_next_with_id().await {
            settled += self.order_ended(ended);
        }
        while let Some(ended) = self.reviews.join_next().await {
            settled += u64::from(ended.unwrap_or_else(|panicked| record_panic(&panicked)));
        }
        settled
    }

    fn order_ended(&mut self, ended: Result<(Id, bool), JoinError>) -> u64 {
        let (id, settled) = ended.unwrap_or_else(|panicked| (panicked.id(), record_panic(&panicked)));
        self.skus.remove(&id);
        u64::from(settled)
    }
}

/// A panic concerns one order, which is due again later; it is not settled. The panic hook has logged the place.
fn record_panic(panicked: &JoinError) -> bool {
    metrics::counter!("background_panics_total", "task" => "reconciler").increment(1);
    tracing::error!(%panicked, "reconciliation of an order panicked; the others go on");
    false
}

/// How many more may begin in this round.
fn room(under_way: &JoinSet<bool>) -> i64 {
    let room = MOST_UNDER_WAY.saturating_sub(under_way.len()).min(ROUND_SIZE);
    i64::try_from(room).unwrap_or(i64::MAX)
}

/// Whether the order was settled. If not, it is due again after a pause.
async fn settle(placement: &OrderPlacement, claim: &KeyClaim) -> bool {
    let order = match placement.db.order(claim.order_id).await {
        Ok(order) => order,
        Err(error) => {
            tracing::debug!(%error, order = %claim.order_id, "order not resolved; its claim falls due again");
            return false;
        }
    };
    let attempt = Attempt {
        order_id: claim.order_id,
        lines: order.lines.clone(),
        strategy: claim.strategy,
        deadline: Instant::now() + placement.time_budget(),
        payment_allowance: Duration::ZERO,
        earlier_write: claim.earlier_write,
        unanswered: false,
        timings: Timings::default(),
    };
    let resolved = timeout_at(attempt.deadline, resolve_outcome(placement, &attempt)).await;
    let result = resolved.unwrap_or(Err(OrderError::OutcomeUnknown));
    let settled = !matches!(result, Err(OrderError::OutcomeUnknown));
    placement.record(claim, order, result, attempt).await;
    settled
}

/// An absent reservation is a definite failure after a claim. Without a claim it
/// counts as one all the same, because the time for the write to arrive has passed.
async fn resolve_outcome(placement: &OrderPlacement, attempt: &Attempt) -> Result<Reservation, OrderError> {
    for _ in 0..MAX_ATTEMPTS {
        return match placement.section().query_outcome(attempt).await {
            Ok(Some(reservation)) if reservation.status.is_live() => Ok(reservation),
            Ok(Some(_ended)) => Err(OrderError::ReservationExpired),
            Ok(None) => Err(OrderError::LeaseLapsed),
            Err(AttemptError::Retry(OrderError::StaleToken { sku, current, .. })) => {
                placement.section().raise_token_floor(attempt, sku.as_ref(), current).await;
                continue;
            }
            Err(AttemptError::Refused(error)) if error.excludes_earlier_write() => Err(error),
            Err(error) => {
                tracing::debug!(?error, order = %attempt.order_id, "outcome still unknown; the order goes to the back");
                Err(OrderError::OutcomeUnknown)
            }
        };
    }
    Err(OrderError::OutcomeUnknown)
}
