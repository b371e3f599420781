//! Deletes the idempotency keys that have expired and, if it is configured, the orders that are over and old, and settles
//! the payments that were authorised after their order had ended: periodically, in batches, so that a backlog of any length
//! takes short statements.
//!
//! Invariant: none of them waits for another to succeed.
//! Absence: orders are resolved elsewhere (`reconcile`), and do not wait for this.

use std::time::Duration;

use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

use crate::{dependencies, domain::error::OrderError, placement::place_order::OrderPlacement};

/// Rows of one statement: far less than its timeout allows.
const BATCH: u64 = 500;

/// What a batch has done, and whether more is left to do.
#[derive(Debug, Clone, Copy)]
pub(super) struct Batch {
    /// Payments that were settled.
    pub(super) settled: u64,
    /// One of the statements reached its limit.
    pub(super) full: bool,
}

/// Works until `stop`. A full batch is followed by the next after as long as it took, any
/// other and a failure by a pause.
pub async fn run(placement: OrderPlacement, every: Duration, stop: CancellationToken) {
    while !stop.is_cancelled() {
        let began = Instant::now();
        let pause = match batch(&placement).await {
            // At most half of the time is spent here, however much there is.
            Ok(Batch { full: true, .. }) => began.elapsed(),
            _ => every,
        };
        tokio::select! {
            () = sleep(pause) => {}
            () = stop.cancelled() => return,
        }
    }
}

/// One batch of each, though another failed; failures are logged.
///
/// # Errors
/// The database failed; the next batch tries again.
pub(super) async fn batch(placement: &OrderPlacement) -> Result<Batch, OrderError> {
    let limit = i64::try_from(BATCH).unwrap_or(i64::MAX);
    let deleted = placement.db.delete_expired_keys(limit, placement.key_lifetime).await;
    let deleted = deleted.map_err(|error| recorded("expired idempotency keys not deleted", error.into()));
    let settled = placement.db.settle_open_payments(limit).await;
    let settled = settled.map_err(|error| recorded("open payments not settled", error.into()));
    let old = match placement.retained_for {
        Some(retained) => placement.db.delete_old_orders(limit, retained).await,
        None => Ok(0),
    };
    let old = old.map_err(|error| recorded("old orders not deleted", error.into()));
    let (deleted, settled, old) = (deleted?, settled?, old?);
    if deleted > 0 || settled > 0 || old > 0 {
        tracing::debug!(deleted, settled, old, "expired keys deleted, open payments settled, old orders deleted");
    }
    Ok(Batch { settled, full: [deleted, settled, old].contains(&BATCH) })
}

fn recorded(step: &str, error: OrderError) -> OrderError {
    tracing::debug!(error = &error as &dyn std::error::Error, "{step}; the next round tries again");
    dependencies::record_failure(&error);
    error
}
