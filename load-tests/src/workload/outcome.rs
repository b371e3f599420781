//! What an answer to an order means: the attack's own outcome table. A sold-out answer is a success of the system.
//!
//! Invariant: an answer is a definite failure only where the contract says that nothing was written.
//! Absence: overselling is not counted here. It is counted in the ledger.

use serde::{Deserialize, Serialize};

/// What became of one attempt, as its customer saw it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// 201: the units are set aside.
    Accepted,
    /// 409 `out_of_stock`.
    SoldOut,
    /// 503 `lock_timeout`: others held the lock all the time.
    LockTimeout,
    /// 503 `lock_quorum_unavailable`: failed closed.
    QuorumUnavailable,
    /// 503 `dependency_unavailable`, or 429: nothing was sold, or nobody knows yet.
    Unavailable,
    /// Any other answer.
    Unexplained,
    /// No answer at all.
    Silence,
}

/// What the snapshot must show for an attempt, given its answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Expected {
    /// Exactly one reservation.
    One,
    /// None.
    None,
    /// None or one: the customer does not know either.
    AtMostOne,
}

impl Outcome {
    /// Of an answer; `code` is the problem's.
    pub fn of(status: u16, code: Option<&str>) -> Self {
        match (status, code) {
            (201, _) => Self::Accepted,
            (409, Some("out_of_stock")) => Self::SoldOut,
            (503, Some("lock_timeout")) => Self::LockTimeout,
            (503, Some("lock_quorum_unavailable")) => Self::QuorumUnavailable,
            (503, Some("dependency_unavailable")) | (429, Some("overloaded")) => Self::Unavailable,
            _ => Self::Unexplained,
        }
    }
}

/// What the contract says about the snapshot after an answer; `None` is silence.
///
/// `idempotency_in_progress` is the one 4xx that is no definite failure: somebody else is still at work on the order.
pub fn expected(status: Option<u16>, code: Option<&str>) -> Expected {
    match (status, code) {
        (Some(201), _) => Expected::One,
        (Some(409), Some("idempotency_in_progress")) => Expected::AtMostOne,
        (Some(400..=499), _) | (Some(503), Some("lock_timeout" | "lock_quorum_unavailable")) => Expected::None,
        _ => Expected::AtMostOne,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_nobody_can_rely_on_is_never_a_definite_failure() {
        assert_eq!(expected(None, None), Expected::AtMostOne);
        assert_eq!(expected(Some(500), Some("internal")), Expected::AtMostOne);
        assert_eq!(expected(Some(503), Some("dependency_unavailable")), Expected::AtMostOne);
        assert_eq!(expected(Some(409), Some("idempotency_in_progress")), Expected::AtMostOne);
    }

    #[test]
    fn refusals_and_a_lost_lock_are_definite() {
        assert_eq!(expected(Some(409), Some("out_of_stock")), Expected::None);
        assert_eq!(expected(Some(503), Some("lock_timeout")), Expected::None);
        assert_eq!(expected(Some(503), Some("lock_quorum_unavailable")), Expected::None);
        assert_eq!(expected(Some(201), None), Expected::One);
    }

    #[test]
    fn sold_out_is_not_an_error() {
        assert_eq!(Outcome::of(409, Some("out_of_stock")), Outcome::SoldOut);
        assert_eq!(Outcome::of(409, Some("stale_fencing_token")), Outcome::Unexplained);
        assert_eq!(Outcome::of(500, None), Outcome::Unexplained);
    }
}
