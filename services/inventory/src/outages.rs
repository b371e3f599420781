//! What this service leans on, and what it is asked to find out whether it is
//! back. Nothing is refused here: every request finds out for itself.

use service_kit::outage::{Outage, PROBE_INTERVAL};
use tokio::time::interval;
use tokio_util::sync::CancellationToken;

use crate::maintenance::changes::ReservationChanges;

pub(crate) static POSTGRES: Outage = Outage::of("postgres");
pub(crate) static LOCKS: Outage = Outage::of("lock quorum");

/// Until the service stops.
pub(crate) async fn watch(changes: ReservationChanges, stop: CancellationToken) {
    let mut every = interval(PROBE_INTERVAL);
    loop {
        tokio::select! { () = stop.cancelled() => return, _ = every.tick() => {} }
        if POSTGRES.is_down() {
            POSTGRES.record_probe(changes.db.ready().await);
        }
        if let Some(locks) = changes.locks.redlock()
            && LOCKS.is_down()
        {
            LOCKS.record_probe(locks.ready().await);
        }
    }
}
