//! The services that an order depends on, each with its outage: one log line
//! when a request fails because of it, one when a probe succeeds again.
//! Absence: no order is refused here; each order calls the service itself.

use service_kit::outage::Outage;

pub(crate) static POSTGRES: Outage = Outage::of("postgres");
pub(crate) static INVENTORY: Outage = Outage::of("inventory");
pub(crate) static LOCKS: Outage = Outage::of("lock quorum");
