//! What an answer to an order means. A sold-out answer is a success of the system.
//!
//! Invariant: an answer is a definite failure only where the contract guarantees that nothing was written.
//! Absence: overselling is not counted here; the audit counts it in the ledger.

use contract::ProblemCode;
use serde::{Deserialize, Serialize};

/// How one attempt ended, as its customer observed it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// 201: the units are held.
    Accepted,
    /// 409 `out_of_stock`.
    SoldOut,
    /// 503 `lock_timeout`: the lock was held by others during the whole wait.
    LockTimeout,
    /// 503 `lock_quorum_unavailable`: order failed closed.
    QuorumUnavailable,
    /// 503 `dependency_unavailable` or `payment_timeout`: nothing was sold, or it is not known yet.
    Unavailable,
    /// 429: this request was not taken on.
    Overloaded,
    /// Any other answer.
    Unexplained,
    /// No answer.
    Silence,
}

/// How many reservations the databases must show for an attempt, given its answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ExpectedReservations {
    /// Exactly one.
    One,
    /// None.
    None,
    /// None or one: the answer leaves the outcome unknown.
    AtMostOne,
}

impl Outcome {
    /// Of an answer with this status; `code` is the problem's, if it has one.
    pub fn of(status: u16, code: Option<&str>) -> Self {
        use ProblemCode as Code;

        match (status, parsed(code)) {
            (201, _) => Self::Accepted,
            (409, Some(Code::OutOfStock)) => Self::SoldOut,
            (503, Some(Code::LockTimeout)) => Self::LockTimeout,
            (503, Some(Code::LockQuorumUnavailable)) => Self::QuorumUnavailable,
            (503, Some(Code::DependencyUnavailable | Code::PaymentTimeout)) => Self::Unavailable,
            (429, Some(Code::Overloaded)) => Self::Overloaded,
            _ => Self::Unexplained,
        }
    }
}

/// How many reservations the contract allows after an answer; a `status` of `None` is silence.
///
/// `idempotency_in_progress` is the one 4xx that is no definite failure: another request is still working on the order.
pub fn expected_reservations(status: Option<u16>, code: Option<&str>) -> ExpectedReservations {
    use ProblemCode as Code;

    match (status, parsed(code)) {
        (Some(201), _) => ExpectedReservations::One,
        (Some(409), Some(Code::IdempotencyInProgress)) => ExpectedReservations::AtMostOne,
        (Some(400..=499), _)
        | (Some(503), Some(Code::LockTimeout | Code::PaymentTimeout | Code::LockQuorumUnavailable)) => {
            ExpectedReservations::None
        }
        _ => ExpectedReservations::AtMostOne,
    }
}

/// The code, if it is one of the contract's.
fn parsed(code: Option<&str>) -> Option<ProblemCode> {
    code?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_that_leaves_the_outcome_unknown_is_no_definite_failure() {
        for (status, code) in [
            (None, None),
            (Some(500), Some("internal")),
            (Some(503), Some("dependency_unavailable")),
            (Some(409), Some("idempotency_in_progress")),
        ] {
            assert_eq!(expected_reservations(status, code), ExpectedReservations::AtMostOne, "{status:?} {code:?}");
        }
    }

    #[test]
    fn a_refusal_and_a_lock_not_acquired_are_definite_failures() {
        assert_eq!(expected_reservations(Some(409), Some("out_of_stock")), ExpectedReservations::None);
        assert_eq!(expected_reservations(Some(503), Some("lock_timeout")), ExpectedReservations::None);
        assert_eq!(expected_reservations(Some(503), Some("lock_quorum_unavailable")), ExpectedReservations::None);
        assert_eq!(expected_reservations(Some(201), None), ExpectedReservations::One);
    }

    #[test]
    fn sold_out_is_not_an_error() {
        assert_eq!(Outcome::of(409, Some("out_of_stock")), Outcome::SoldOut);
        assert_eq!(Outcome::of(409, Some("stale_fencing_token")), Outcome::Unexplained);
        assert_eq!(Outcome::of(500, None), Outcome::Unexplained);
    }
}
