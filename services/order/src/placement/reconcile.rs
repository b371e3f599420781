//! Settles the orders that a crash or an unknown outcome left pending, at start
//! and then periodically. An order is taken over exactly as a retry of its
//! client would do, so that the two never work on it at the same time.
//!
//! Absence: nothing is sold here.

use std::time::Duration;

use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

use crate::{
    dependencies,
    domain::{error::OrderError, order::Reservation},
    placement::{
        attempt_error::AttemptError,
        batch::{Attempt, Timings},
        lifecycle,
        place_order::OrderPlacement,
    },
    store::idempotency::KeyClaim,
};

/// Most orders of one round; the next round takes the next.
const ROUND_SIZE: i64 = 64;
/// A token floor that was raised and is still too low waits for the next round.
const MAX_ATTEMPTS: usize = 4;

/// Reconciles until `stop`; a round that failed is followed by the next.
pub async fn run(placement: OrderPlacement, every: Duration, stop: CancellationToken) {
    loop {
        match round(&placement).await {
            Ok(0) => {}
            Ok(settled) => tracing::info!(settled, "orders and payments reconciled"),
            Err(error @ OrderError::Database(_)) => dependencies::POSTGRES.record_failure(&error),
            Err(error) => tracing::debug!(%error, "round of reconciliation failed; the next round tries again"),
        }
        report_pool_usage(&placement);
        tokio::select! {
            () = sleep(every) => {}
            () = stop.cancelled() => return,
        }
    }
}

fn report_pool_usage(placement: &OrderPlacement) {
    let (used, open) = placement.db.pool_usage();
    metrics::gauge!("order_db_connections_used").set(f64::from(used));
    metrics::gauge!("order_db_connections_open").set(f64::from(open));
}

/// One round; the number of orders and payments that were settled.
///
/// # Errors
/// The database failed. The orders that were claimed fall due again.
pub async fn round(placement: &OrderPlacement) -> Result<u64, OrderError> {
    let mut settled = 0;
    let claims = placement.db.claim_overdue(ROUND_SIZE, placement.claim_duration()).await?;
    let orders = claims.into_iter().map(|claim| async move {
        let done = settle(placement, &claim).await;
        if let Err(error) = &done {
            tracing::debug!(%error, order = %claim.order_id, "order not resolved; the next round tries again");
        }
        u64::from(done.is_ok())
    });
    for one in futures_util::future::join_all(orders).await {
        settled += one;
    }
    let review_again = placement.section().lease.get();
    for id in placement.db.take_orders_to_review(ROUND_SIZE, review_again).await? {
        match lifecycle::review(placement, id).await {
            Ok(concluded) => settled += u64::from(concluded),
            Err(error) => tracing::debug!(%error, order = %id, "order not reviewed; the next round tries again"),
        }
    }
    let deleted = placement.db.delete_expired_keys(placement.key_lifetime).await?;
    if deleted > 0 {
        tracing::debug!(deleted, "expired idempotency keys deleted");
    }
    Ok(settled + placement.db.settle_open_payments().await?)
}

async fn settle(placement: &OrderPlacement, claim: &KeyClaim) -> Result<(), OrderError> {
    let order = placement.db.order(claim.order_id).await?;
    let attempt = Attempt {
        order_id: claim.order_id,
        lines: order.lines.clone(),
        strategy: claim.strategy,
        deadline: Instant::now() + placement.time_budget(),
        payment_allowance: Duration::ZERO,
        maybe_written: true,
        timings: Timings::default(),
    };
    let result = resolve_outcome(placement, &attempt).await;
    placement.record(claim, order, result, Timings::default()).await;
    Ok(())
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
            Err(_unknown) => Err(OrderError::OutcomeUnknown),
        };
    }
    Err(OrderError::OutcomeUnknown)
}
