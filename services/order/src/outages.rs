//! What this service leans on, and what it is asked to find out whether it is
//! back. Nothing is refused here: every order finds out for itself.

use service_kit::outage::{ASK_EVERY, Outage};
use tokio::time::interval;
use tokio_util::sync::CancellationToken;

use crate::{placing::Placing, strategy::Strategy};

pub(crate) static POSTGRES: Outage = Outage::of("postgres");
pub(crate) static INVENTORY: Outage = Outage::of("inventory");
pub(crate) static LOCKS: Outage = Outage::of("lock quorum");

/// Until the service stops.
pub(crate) async fn watch(placing: Placing, usual: Strategy, stop: CancellationToken) {
    let section = placing.section();
    let mut every = interval(ASK_EVERY);
    loop {
        tokio::select! { () = stop.cancelled() => return, _ = every.tick() => {} }
        if POSTGRES.lasts() {
            POSTGRES.asked(placing.db.ready().await);
        }
        if INVENTORY.lasts() {
            INVENTORY.asked(section.inventory.ready().await);
        }
        if LOCKS.lasts() {
            LOCKS.asked(section.locks.ready(usual).await);
        }
    }
}
