//! The services that an order depends on, each with its outage: one log line
//! when a request fails because of it, one when a probe succeeds again.
//! Absence: no order is refused here; each order calls the service itself.

use contract::LockKind;
use failure_kind::FailureKind;
use service_kit::outage::Outage;

use crate::domain::error::OrderError;

pub(crate) static POSTGRES: Outage = Outage::of("postgres");
pub(crate) static INVENTORY: Outage = Outage::of("inventory");

/// Records the failure of the dependency that caused the error, if one did.
pub(crate) fn record_failure(error: &OrderError) {
    let outage = match error {
        OrderError::Database { .. } => &POSTGRES,
        OrderError::Inventory { .. } => &INVENTORY,
        OrderError::LockQuorum { lock: kind, .. } => lock(*kind),
        _ => return,
    };
    outage.record_failure(error.failure_kind().unwrap_or(FailureKind::Silent), error);
}

/// The servers of a lock. One may be down while another works, so each has an outage of its own.
pub(crate) fn lock(kind: LockKind) -> &'static Outage {
    // Without a lock there is nothing that could be down. It must not stand for another: its probe always succeeds.
    static NONE: Outage = Outage::of("no lock");
    static REDLOCK: Outage = Outage::of("lock quorum");
    static ONE_REDIS: Outage = Outage::of("first lock node");
    static ETCD: Outage = Outage::of("etcd");
    static ZOOKEEPER: Outage = Outage::of("zookeeper");
    static ADVISORY: Outage = Outage::of("advisory database");
    match kind {
        LockKind::None => &NONE,
        LockKind::Redlock => &REDLOCK,
        LockKind::OneRedis => &ONE_REDIS,
        LockKind::Etcd => &ETCD,
        LockKind::Zookeeper => &ZOOKEEPER,
        LockKind::Advisory => &ADVISORY,
    }
}
