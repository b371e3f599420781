//! The dependencies of this service, and whether each of them is down. Absence: no request is refused because of
//! this state; each request calls the dependency itself.

use failure_kind::FailureKind;
use service_kit::outage::Outage;

use crate::domain::error::StockError;

pub(crate) static POSTGRES: Outage = Outage::of("postgres");
pub(crate) static LOCK_QUORUM: Outage = Outage::of("lock quorum");

/// Records the failure of the dependency that caused the error, if one did.
pub(crate) fn record_failure(error: &StockError) {
    match error {
        StockError::PostgresUnavailable(cause) => POSTGRES.record_failure(FailureKind::of_postgres(cause), error),
        StockError::LockQuorumUnavailable(cause) => {
            LOCK_QUORUM.record_failure(cause.failure_kind().unwrap_or(FailureKind::Silent), error);
        }
        _ => {}
    }
}
