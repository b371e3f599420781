//! Deletes the idempotency keys that have expired, and settles the payments that were authorised after their order had
//! ended: periodically, in batches, so that a backlog of any length takes short statements.
//!
//! Invariant: neither of the two waits for the other to succeed.
//! Absence: orders are resolved elsewhere (`reconcile`), and do not wait for this.

use std::time::Duration;

use tokio::time::sleep;
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

/// Works until `stop`. A full batch is followed by the next at once, any other and a failure by a pause.
pub async fn run(placement: OrderPlacement, every: Duration, stop: CancellationToken) {
    while !stop.is_cancelled() {
        if let Ok(Batch { full: true, .. }) = batch(&placement).await {
            continue;
        }
        tokio::select! {
            () = sleep(every) => {}
            () = stop.cancelled() => return,
        }
    }
}

/// One batch of each, though the other failed; failures are logged.
///
/// # Errors
/// The database failed; the next batch tries again.
pub(super) async fn batch(placement: &OrderPlacement) -> Result<Batch, OrderError> {
    let limit = i64::try_from(BATCH).unwrap_or(i64::MAX);
    let deleted = placement.db.delete_expired_keys(limit, placement.key_lifetime).await;
    let deleted = deleted.map_err(|error| recorded("expired idempotency keys not deleted", error.into()));
    let settled = placement.db.settle_open_payments(limit).await;
    let settled = settled.map_err(|error| recorded("open payments not settled", error.into()));
    let (deleted, settled) = (deleted?, settled?);
    if deleted > 0 || settled > 0 {
        tracing::debug!(deleted, settled, "expired idempotency keys deleted, open payments settled");
    }
    Ok(Batch { settled, full: deleted == BATCH || settled == BATCH })
}

fn recorded(step: &str, error: OrderError) -> OrderError {
    tracing::debug!(error = &error as &dyn std::error::Error, "{step}; the next round tries again");
    dependencies::record_failure(&error);
    error
}
