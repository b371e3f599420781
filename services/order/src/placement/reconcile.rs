//! Finishes what a crash, or an outcome nobody heard, left half done: at start
//! and again and again. It takes an order over exactly as a retrying client
//! would, so that the two never work on the same one; it never sells anything.

use std::time::Duration;

use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

use crate::domain::error::OrderError;
use crate::domain::order::Reservation;
use crate::outages;
use crate::placement::critical_section::Attempt;
use crate::placement::lifecycle;
use crate::placement::outcome::AttemptError;
use crate::placement::service::OrderPlacement;
use crate::placement::timings::Timings;
use crate::store::orders::KeyClaim;

/// How many orders one round takes; the next round takes the next.
const BATCH: i64 = 64;
/// A token that is stale twice is stale for a reason; the next round is soon.
const MAX_ATTEMPTS: usize = 4;

/// Works until it is told to stop; a round that fails is tried again.
pub async fn run(placement: OrderPlacement, every: Duration, stop: CancellationToken) {
    loop {
        match round(&placement).await {
            Ok(0) => {}
            Ok(settled) => tracing::info!(settled, "reconciled"),
            Err(error @ OrderError::Database(_)) => outages::POSTGRES.record_failure(&error),
            Err(error) => tracing::debug!(%error, "a round of reconciliation failed"),
        }
        report_pool_use(&placement);
        tokio::select! {
            () = sleep(every) => {}
            () = stop.cancelled() => return,
        }
    }
}

fn report_pool_use(placement: &OrderPlacement) {
    let (used, open) = placement.db.pool_usage();
    metrics::gauge!("order_db_connections_used").set(f64::from(used));
    metrics::gauge!("order_db_connections_open").set(f64::from(open));
}

/// One round; how many orders and payments were settled.
///
/// # Errors
/// The database is away. What was taken falls due again by itself.
pub async fn round(placement: &OrderPlacement) -> Result<u64, OrderError> {
    let mut settled = 0;
    let taken = placement.db.claim_overdue(BATCH, placement.claim_duration()).await?;
    let orders = taken.into_iter().map(|claim| async move {
        let done = settle(placement, &claim).await;
        if let Err(error) = &done {
            tracing::debug!(%error, order = %claim.order_id, "an order stays unresolved for now");
        }
        u64::from(done.is_ok())
    });
    for one in futures_util::future::join_all(orders).await {
        settled += one;
    }
    let review_again = placement.section().lease.get();
    for id in placement.db.take_orders_to_review(BATCH, review_again).await? {
        match lifecycle::review(placement, id).await {
            Ok(concluded) => settled += u64::from(concluded),
            Err(error) => {
                tracing::debug!(%error, order = %id, "an order could not be reviewed for now");
            }
        }
    }
    let forgotten = placement.db.delete_expired_keys(placement.key_lifetime).await?;
    if forgotten > 0 {
        tracing::debug!(forgotten, "idempotency keys expired");
    }
    Ok(settled + placement.db.settle_open_payments().await?)
}

async fn settle(placement: &OrderPlacement, claim: &KeyClaim) -> Result<(), OrderError> {
    let order = placement.db.order(claim.order_id).await?;
    let mut attempt = Attempt {
        order_id: claim.order_id,
        lines: order.lines.clone(),
        strategy: claim.strategy,
        deadline: Instant::now() + placement.time_budget(),
        maybe_written: true,
        timings: Timings::default(),
    };
    let ended = resolve_outcome(placement, &mut attempt).await;
    placement.record(claim, order, ended, Timings::default()).await;
    Ok(())
}

/// Absent is a definite failure after a claim; without one it is believed all
/// the same, because the write was given its time before anybody came to look.
async fn resolve_outcome(placement: &OrderPlacement, attempt: &mut Attempt) -> Result<Reservation, OrderError> {
    for _ in 0..MAX_ATTEMPTS {
        return match placement.section().query_outcome(attempt).await {
            Ok(Some(reservation)) if reservation.is_live() => Ok(reservation),
            Ok(Some(_ended)) => Err(OrderError::ReservationExpired),
            Ok(None) => Err(OrderError::LeaseLapsed),
            Err(AttemptError::Retry(OrderError::StaleToken { sku, current, .. })) => {
                placement.raise_token_floor(attempt, sku.as_ref(), current).await;
                continue;
            }
            Err(AttemptError::Refused(error)) if error.excludes_earlier_write() => Err(error),
            Err(_unknown) => Err(OrderError::OutcomeUnknown),
        };
    }
    Err(OrderError::OutcomeUnknown)
}
