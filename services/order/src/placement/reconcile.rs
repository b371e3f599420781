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
use crate::placement::outcome::Setback;
use crate::placement::service::Placing;
use crate::placement::timings::Timings;
use crate::store::orders::Owned;

/// How many orders one round takes; the next round takes the next.
const BATCH: i64 = 64;
/// A token that is stale twice is stale for a reason; the next round is soon.
const MOST_PASSES: usize = 4;

/// Works until it is told to stop; a round that fails is tried again.
pub async fn run(placing: Placing, every: Duration, stop: CancellationToken) {
    loop {
        match round(&placing).await {
            Ok(0) => {}
            Ok(settled) => tracing::info!(settled, "reconciled"),
            Err(error @ OrderError::Database(_)) => outages::POSTGRES.record_failure(&error),
            Err(error) => tracing::debug!(%error, "a round of reconciliation failed"),
        }
        report_pool_use(&placing);
        tokio::select! {
            () = sleep(every) => {}
            () = stop.cancelled() => return,
        }
    }
}

fn report_pool_use(placing: &Placing) {
    let (used, open) = placing.db.pool_use();
    metrics::gauge!("order_db_connections_used").set(f64::from(used));
    metrics::gauge!("order_db_connections_open").set(f64::from(open));
}

/// One round; how many orders and payments were settled.
///
/// # Errors
/// The database is away. What was taken falls due again by itself.
pub async fn round(placing: &Placing) -> Result<u64, OrderError> {
    let mut settled = 0;
    let taken = placing.db.take_overdue(BATCH, placing.in_flight_for()).await?;
    let orders = taken.into_iter().map(|owned| async move {
        let done = settle(placing, &owned).await;
        if let Err(error) = &done {
            tracing::debug!(%error, order = %owned.order_id, "an order stays unresolved for now");
        }
        u64::from(done.is_ok())
    });
    for one in futures_util::future::join_all(orders).await {
        settled += one;
    }
    let review_again = placing.section().lease.get();
    for id in placing.db.take_due_for_review(BATCH, review_again).await? {
        match lifecycle::review(placing, id).await {
            Ok(concluded) => settled += u64::from(concluded),
            Err(error) => {
                tracing::debug!(%error, order = %id, "an order could not be reviewed for now");
            }
        }
    }
    let forgotten = placing.db.forget_keys(placing.key_life).await?;
    if forgotten > 0 {
        tracing::debug!(forgotten, "idempotency keys expired");
    }
    Ok(settled + placing.db.settle_open_payments().await?)
}

async fn settle(placing: &Placing, owned: &Owned) -> Result<(), OrderError> {
    let order = placing.db.order(owned.order_id).await?;
    let mut attempt = Attempt {
        order_id: owned.order_id,
        lines: order.lines.clone(),
        strategy: owned.strategy,
        deadline: Instant::now() + placing.patience(),
        maybe_sent: true,
        timings: Timings::default(),
    };
    let ended = found_out(placing, &mut attempt).await;
    placing.record(owned, order, ended, Timings::default()).await;
    Ok(())
}

/// Absent is a definite failure after a claim; without one it is believed all
/// the same, because the write was given its time before anybody came to look.
async fn found_out(placing: &Placing, attempt: &mut Attempt) -> Result<Reservation, OrderError> {
    for _ in 0..MOST_PASSES {
        return match placing.section().find_out(attempt).await {
            Ok(Some(reservation)) if reservation.stands() => Ok(reservation),
            Ok(Some(_ended)) => Err(OrderError::ReservationExpired),
            Ok(None) => Err(OrderError::LeaseLapsed),
            Err(Setback::TryAgain(OrderError::StaleToken { sku, current, .. })) => {
                placing.heal(attempt, sku.as_ref(), current).await;
                continue;
            }
            Err(Setback::Refused(error)) if error.rules_out_an_earlier_write() => Err(error),
            Err(_unknown) => Err(OrderError::Unheard),
        };
    }
    Err(OrderError::Unheard)
}
