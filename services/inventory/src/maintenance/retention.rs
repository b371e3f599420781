//! Deletes what is over and older than it has to be kept, in short transactions. Every replica tries; one at a time works.
//!
//! Invariant: at most half of the time is spent deleting, however much there is.
//! Absence: what may be deleted is decided by the database.

use std::{error::Error, time::Duration};

use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

use crate::{domain::error::StockError, outages, store::StockDb};

/// Between two looks, once nothing is left.
const EVERY: Duration = Duration::from_secs(10);
/// Rows of each table in one transaction: far less than the timeout of a statement allows.
const BATCH: u32 = 500;

/// Deletes what is older than `older_than`, until `stop`.
pub(crate) async fn run(db: StockDb, older_than: Duration, stop: CancellationToken) {
    while !stop.is_cancelled() {
        let began = Instant::now();
        let pause = match db.delete_old_rows(older_than, BATCH).await {
            Ok(deleted) => {
                metrics::counter!("inventory_retention_batches_total", "outcome" => "done").increment(1);
                if deleted < u64::from(BATCH) { EVERY } else { began.elapsed() }
            }
            Err(error) => {
                metrics::counter!("inventory_retention_batches_total", "outcome" => "failed").increment(1);
                record_failure(&error);
                EVERY
            }
        };
        tokio::select! { () = stop.cancelled() => {}, () = sleep(pause) => {} }
    }
}

fn record_failure(error: &StockError) {
    if matches!(error, StockError::PostgresUnavailable(_)) {
        return outages::record_failure(error);
    }
    tracing::warn!(error = error as &dyn Error, "old rows not deleted; the next batch tries again");
}
