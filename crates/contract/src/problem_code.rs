//! The `code` of every problem that one of our programs decides on.

use strum::{Display, EnumString, IntoStaticStr, VariantArray};

/// The machine-readable reason of a problem (RFC 9457, member `code`).
///
/// Codes that only a person reads (`malformed_json`, `body_too_large`, …) are
/// service-kit's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Display, EnumString, IntoStaticStr, VariantArray)]
#[strum(serialize_all = "snake_case")]
pub enum ProblemCode {
    /// 409: too few units.
    OutOfStock,
    /// 409: the order or the reservation is not in a state that allows it.
    InvalidState,
    /// 409: the hold ended before it was confirmed.
    ReservationExpired,
    /// 409: the storage has registered a newer token.
    StaleFencingToken,
    /// 409: the tokens of this SKU come from another source.
    TokenSourceMismatch,
    /// 409: the row's version is not the one that was read.
    StaleVersion,
    /// 503: the lock was not acquired within the wait.
    LockTimeout,
    /// 503: fewer than a quorum of the lock nodes answered.
    LockQuorumUnavailable,
    /// 503: a service or a database did not answer.
    DependencyUnavailable,
    /// 504: the caller's deadline passed first; nothing was written.
    DeadlineExceeded,
    /// 429: more work than the service admits at once.
    Overloaded,
    /// 400: the request has no `Idempotency-Key`.
    IdempotencyKeyMissing,
    /// 422: the key belongs to another request.
    IdempotencyKeyReused,
    /// 409: the first request with this key is still in progress.
    IdempotencyInProgress,
    /// 403 or 422: the strategy cannot be chosen here.
    StrategyNotAllowed,
    /// 422: a field is out of range.
    ValidationFailed,
    /// 404: no such order, reservation or SKU.
    NotFound,
    /// 500: a defect of the service.
    Internal,
}

impl ProblemCode {
    /// The code, as problems carry it.
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
