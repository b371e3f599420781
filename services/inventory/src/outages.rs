//! What this service leans on, and what it is asked to find out whether it is
//! back. Nothing is refused here: every request finds out for itself.

use service_kit::outage::{ASK_EVERY, Outage};
use tokio::time::interval;
use tokio_util::sync::CancellationToken;

use crate::changes::Changes;

pub(crate) static POSTGRES: Outage = Outage::of("postgres");
pub(crate) static LOCKS: Outage = Outage::of("lock quorum");

/// Until the service stops.
pub(crate) async fn watch(changes: Changes, stop: CancellationToken) {
    let mut every = interval(ASK_EVERY);
    loop {
        tokio::select! { () = stop.cancelled() => return, _ = every.tick() => {} }
        if POSTGRES.lasts() {
            POSTGRES.asked(changes.db.ready().await);
        }
        if let Some(locks) = changes.locks.redlock()
            && LOCKS.lasts()
        {
            LOCKS.asked(locks.ready().await);
        }
    }
}
