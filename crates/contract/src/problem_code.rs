//! The `code` of the problems that services and laboratory branch on.

use strum::{Display, EnumString, IntoStaticStr, VariantArray};

/// The machine-readable kind of a problem (RFC 9457, extension member `code`).
///
/// Absence: codes on which no program branches (`malformed_json`, `body_too_large`,
/// …); service-kit has those.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Display, EnumString, IntoStaticStr, VariantArray)]
#[strum(serialize_all = "snake_case")]
pub enum ProblemCode {
    /// 409: too few units.
    OutOfStock,
    /// 409: the state of the order or reservation does not allow the request.
    InvalidState,
    /// 409: the reservation expired before it was confirmed.
    ReservationExpired,
    /// 409: the storage has registered a newer token.
    StaleFencingToken,
    /// 409: the tokens of this SKU come from another source.
    TokenSourceMismatch,
    /// 409: the row's version is not the one that was read.
    StaleVersion,
    /// 503: the lock was not acquired within the wait time.
    LockTimeout,
    /// 503: the payment was not authorised within the time for it; nothing was written.
    PaymentTimeout,
    /// 503: fewer than a quorum of the lock nodes answered.
    LockQuorumUnavailable,
    /// 503: a service or a database did not answer.
    DependencyUnavailable,
    /// 504: the caller's deadline passed before the work finished; it may still
    /// take effect.
    DeadlineExceeded,
    /// 429: the service is at its limit of concurrent work.
    Overloaded,
    /// 400: the request has no `Idempotency-Key` header.
    IdempotencyKeyMissing,
    /// 400: a header that may be sent once was sent several times.
    HeaderRepeated,
    /// 422: the key was used for a different request.
    IdempotencyKeyReused,
    /// 409: the first request with this key is still in progress.
    IdempotencyInProgress,
    /// 403: the strategy is reserved for the lab. 422: it is unknown or not
    /// configured.
    StrategyNotAllowed,
    /// 422: a field is missing, of another type or out of range.
    ValidationFailed,
    /// 404: no such order, reservation or SKU.
    NotFound,
    /// 410: older than what the service retains; it may have existed.
    PastRetention,
    /// 500: a defect of the service, a panic included.
    Internal,
}

impl ProblemCode {
    /// The code in snake case, as in the member `code`.
    pub fn as_str(self) -> &'static str {
        self.into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_code_is_spelled_in_snake_case() {
        assert_eq!(ProblemCode::LockQuorumUnavailable.as_str(), "lock_quorum_unavailable");
        for &code in ProblemCode::VARIANTS {
            assert_eq!(code.as_str().parse(), Ok(code));
        }
    }
}
