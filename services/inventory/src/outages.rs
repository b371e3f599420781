//! The dependencies of this service, and whether each of them is down. Absence: no request is refused because of
//! this state; each request calls the dependency itself.

use service_kit::outage::Outage;

pub(crate) static POSTGRES: Outage = Outage::of("postgres");
pub(crate) static LOCK_QUORUM: Outage = Outage::of("lock quorum");
