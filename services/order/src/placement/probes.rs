//! Probes the dependencies that are down, to log when they answer again.

use service_kit::outage::PROBE_INTERVAL;
use tokio::time::interval;
use tokio_util::sync::CancellationToken;

use crate::{
    dependencies::{self, INVENTORY, POSTGRES},
    placement::place_order::OrderPlacement,
};

/// Probes until `stop`: Postgres, inventory and every lock whose server is configured, together, so that one that is
/// slow to fail does not delay the others.
pub async fn run(placement: OrderPlacement, stop: CancellationToken) {
    let mut every = interval(PROBE_INTERVAL);
    loop {
        tokio::select! { () = stop.cancelled() => return, _ = every.tick() => {} }
        probe(&placement).await;
    }
}

async fn probe(placement: &OrderPlacement) {
    let section = placement.section();
    let postgres = async {
        if POSTGRES.is_down() {
            POSTGRES.record_probe(placement.db.ready().await);
        }
    };
    let inventory = async {
        if INVENTORY.is_down() {
            INVENTORY.record_probe(section.inventory.ready().await);
        }
    };
    let locks = section.locks.iter().map(async |(&kind, locks)| {
        let outage = dependencies::lock(kind);
        if outage.is_down() {
            outage.record_probe(locks.ready().await);
        }
    });
    tokio::join!(postgres, inventory, futures_util::future::join_all(locks));
}
