//! Probes the dependencies that are down, to log when they answer again.

use contract::Strategy;
use service_kit::outage::PROBE_INTERVAL;
use tokio::time::interval;
use tokio_util::sync::CancellationToken;

use crate::{
    dependencies::{INVENTORY, LOCKS, POSTGRES},
    placement::place_order::OrderPlacement,
};

/// Probes until `stop`; of the locks, the one of `strategy`.
pub async fn run(placement: OrderPlacement, strategy: Strategy, stop: CancellationToken) {
    let section = placement.section();
    let mut every = interval(PROBE_INTERVAL);
    loop {
        tokio::select! { () = stop.cancelled() => return, _ = every.tick() => {} }
        if POSTGRES.is_down() {
            POSTGRES.record_probe(placement.db.ready().await);
        }
        if INVENTORY.is_down() {
            INVENTORY.record_probe(section.inventory.ready().await);
        }
        if LOCKS.is_down() {
            LOCKS.record_probe(section.lock_ready(strategy).await);
        }
    }
}
