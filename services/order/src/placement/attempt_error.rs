//! How an attempt ends without a reservation, and what a failure of the lock or
//! of inventory means for it.
//!
//! Invariant: `Refused` and `Retry` are returned only where this attempt
//! certainly wrote nothing.

use contract::{LockKind, ProblemCode};
use fenced_lock::{LockError, Token};

use crate::{
    dependencies::INVENTORY,
    domain::{allocation::Shortage, error::OrderError, order::Reservation},
    inventory::call_error::{CallError, Refusal},
};

/// How an attempt ends for one order.
pub type AttemptResult = Result<Reservation, AttemptError>;

/// Why an attempt has no reservation. Cheap to clone: it may end every order of a batch.
#[derive(Debug, Clone)]
pub enum AttemptError {
    /// This attempt wrote nothing, and another would not either.
    Refused(OrderError),
    /// This attempt wrote nothing; another grant may succeed.
    Retry(OrderError),
    /// The write was sent and its outcome is unknown.
    OutcomeUnknown,
}

impl From<Shortage> for AttemptError {
    fn from(Shortage { sku, available }: Shortage) -> Self {
        Self::Refused(OrderError::OutOfStock { sku, available })
    }
}

/// The lock was not granted, because it failed.
pub(super) fn lock_failed(lock: LockKind, error: LockError) -> AttemptError {
    match error {
        LockError::QuorumUnavailable { .. } | LockError::Unavailable { .. } => {
            AttemptError::Refused(OrderError::LockQuorum { lock, error })
        }
        LockError::Lapsed { .. } | LockError::Lost { .. } => AttemptError::Retry(OrderError::LeaseLapsed),
        LockError::TooManyWaiters { .. } | LockError::Closed => AttemptError::Refused(OrderError::Overloaded),
        LockError::ResourceCount { .. }
        | LockError::NoTokens { .. }
        | LockError::FloorOutOfReach { .. }
        | LockError::TokensExhausted { .. } => AttemptError::Refused(OrderError::Lock(error)),
    }
}

/// A write failed: unless it was refused or never sent, its outcome is unknown, and how inventory failed is recorded
/// here, since the outcome alone does not tell it.
pub(super) fn write_failed(error: CallError) -> AttemptError {
    match error {
        CallError::NoAnswer(_) | CallError::Failed { .. } => {
            INVENTORY.record_failure(error.kind(), &error);
            AttemptError::OutcomeUnknown
        }
        CallError::TaskPanicked => AttemptError::OutcomeUnknown,
        CallError::NotSent(_) | CallError::Refused(_) => not_written(error),
    }
}

/// A call failed that wrote nothing.
pub(super) fn not_written(error: CallError) -> AttemptError {
    let Refusal { code, sku, available, token, current, errors, .. } = match &error {
        CallError::NoAnswer(_) => return AttemptError::Retry(OrderError::inventory(error.kind(), error)),
        CallError::NotSent(_) | CallError::Failed { .. } | CallError::TaskPanicked => {
            return AttemptError::Refused(OrderError::inventory(error.kind(), error));
        }
        CallError::Refused(refusal) => refusal.clone(),
    };
    let current = current.and_then(|current| Token::new(current).ok());
    match (code, sku, current) {
        (Some(ProblemCode::StaleFencingToken), sku, Some(current)) => {
            AttemptError::Retry(OrderError::StaleToken { sku, token: token.unwrap_or(0), current })
        }
        (Some(ProblemCode::OutOfStock), Some(sku), _) => {
            AttemptError::Refused(OrderError::OutOfStock { sku, available: available.unwrap_or(0) })
        }
        (Some(ProblemCode::NotFound), sku, _) => AttemptError::Refused(OrderError::UnknownSku(sku)),
        (Some(ProblemCode::TokenSourceMismatch), ..) => AttemptError::Refused(OrderError::TokenSourceMismatch),
        (Some(ProblemCode::Overloaded), ..) => AttemptError::Refused(OrderError::Overloaded),
        (Some(ProblemCode::InvalidState), ..) => AttemptError::Refused(OrderError::Conflict),
        (Some(ProblemCode::StaleVersion), ..) => AttemptError::Retry(OrderError::Overtaken),
        // This service checked the order against its own limits, so theirs differ.
        (Some(ProblemCode::ValidationFailed), ..) if !errors.is_empty() => {
            let details: Vec<_> = errors.iter().map(|error| error.detail.as_str()).collect();
            tracing::warn!(
                details = details.join("; "),
                "order refused by inventory's limits: ORDER_MAX_LINES must not be above INVENTORY_MAX_LINES"
            );
            AttemptError::Refused(OrderError::Invalid(errors))
        }
        (Some(_) | None, ..) => AttemptError::Refused(OrderError::unforeseen(error)),
    }
}
