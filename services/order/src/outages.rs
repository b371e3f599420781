//! What this service leans on, and what it is asked to find out whether it is
//! back. Nothing is refused here: every order finds out for itself.

use service_kit::outage::{Outage, PROBE_INTERVAL};
use tokio::time::interval;
use tokio_util::sync::CancellationToken;

use crate::placement::service::OrderPlacement;
use crate::strategy::Strategy;

pub(crate) static POSTGRES: Outage = Outage::of("postgres");
pub(crate) static INVENTORY: Outage = Outage::of("inventory");
pub(crate) static LOCKS: Outage = Outage::of("lock quorum");

/// Until the service stops.
pub(crate) async fn watch(placement: OrderPlacement, usual: Strategy, stop: CancellationToken) {
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
            LOCKS.record_probe(section.locks.ready(usual).await);
        }
    }
}
