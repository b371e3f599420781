//! Background tasks that observe and change nothing: whether a dependency that was down answers again, and how much of
//! the connection pool is in use.

use std::time::Duration;

use fenced_lock::Locks;
use service_kit::outage::PROBE_INTERVAL;
use tokio::time::interval;
use tokio_util::sync::CancellationToken;

use crate::{outages, store::StockDb};

/// Short enough to show a pool that is used up for a moment.
const POOL_METRICS_INTERVAL: Duration = Duration::from_secs(1);

/// Probes the dependencies that are down, until `stop`.
pub(crate) async fn probe_outages(db: StockDb, redlock: Option<Locks>, stop: CancellationToken) {
    let mut every = interval(PROBE_INTERVAL);
    loop {
        tokio::select! { () = stop.cancelled() => return, _ = every.tick() => {} }
        if outages::POSTGRES.is_down() {
            outages::POSTGRES.record_probe(db.ready().await);
        }
        if let Some(locks) = &redlock
            && outages::LOCK_QUORUM.is_down()
        {
            outages::LOCK_QUORUM.record_probe(locks.ready().await);
        }
    }
}

/// Records how many connections are open and how many of them are idle, until `stop`.
pub(crate) async fn record_pool_metrics(db: StockDb, stop: CancellationToken) {
    let mut every = interval(POOL_METRICS_INTERVAL);
    loop {
        tokio::select! { () = stop.cancelled() => return, _ = every.tick() => {} }
        let (open, idle) = db.connections();
        metrics::gauge!("inventory_pool_connections", "state" => "open").set(open);
        metrics::gauge!("inventory_pool_connections", "state" => "idle").set(idle);
    }
}
