//! How a pass through the critical section ends without a reservation, and what
//! inventory's refusals mean for it. Invariant: `Refused` and `TryAgain` are
//! said only where this pass certainly wrote nothing.

use std::sync::Arc;

use fenced_lock::{LockError, Token};

use crate::domain::error::OrderError;
use crate::domain::order::Reservation;
use crate::inventory::client::{CallError, Refusal};

/// How a pass ends without a reservation. Cheap to clone, as its errors are.
#[derive(Debug, Clone)]
pub enum AttemptError {
    /// This pass wrote nothing, and another would not either.
    Refused(OrderError),
    /// This pass wrote nothing; another grant may do better.
    Retry(OrderError),
    /// The write was sent, and nobody answered.
    OutcomeUnknown,
}

/// A reservation that was cancelled or has expired meanwhile is none.
///
/// # Errors
/// It does not stand.
pub(crate) fn live(reservation: Reservation) -> Result<Reservation, AttemptError> {
    if reservation.is_live() { Ok(reservation) } else { Err(AttemptError::Refused(OrderError::ReservationExpired)) }
}

/// What it means that the lock could not be asked for.
pub(crate) fn lock_failed(error: LockError) -> AttemptError {
    match error {
        LockError::QuorumUnavailable { .. } | LockError::Unavailable { .. } => {
            AttemptError::Refused(OrderError::LockQuorum(error))
        }
        LockError::Lapsed { .. } | LockError::Lost { .. } => AttemptError::Retry(OrderError::LeaseLapsed),
        LockError::TooManyWaiters { .. } => AttemptError::Refused(OrderError::Overloaded),
        LockError::ResourceCount { .. }
        | LockError::NoTokens { .. }
        | LockError::FloorOutOfReach { .. }
        | LockError::TokensExhausted { .. } => AttemptError::Refused(OrderError::Lock(error)),
    }
}

/// What a failed call means where it certainly wrote nothing.
pub(crate) fn not_written(error: CallError) -> AttemptError {
    let CallError::Refused(refusal) = &error else {
        return match error {
            CallError::NoAnswer(_) => AttemptError::Retry(OrderError::inventory(error)),
            _ => AttemptError::Refused(OrderError::inventory(error)),
        };
    };
    let Refusal { code, sku, available, token, current, .. } = refusal.clone();
    match (code.as_str(), current.and_then(|current| Token::new(current).ok())) {
        ("stale_fencing_token", Some(current)) => {
            AttemptError::Retry(OrderError::StaleToken { sku, token: token.unwrap_or(0), current })
        }
        ("out_of_stock", _) => match sku {
            Some(sku) => AttemptError::Refused(OrderError::OutOfStock { sku, available: available.unwrap_or(0) }),
            None => AttemptError::Refused(OrderError::Unforeseen(Arc::new(error))),
        },
        ("not_found", _) => AttemptError::Refused(OrderError::UnknownSku(sku)),
        ("token_source_mismatch", _) => AttemptError::Refused(OrderError::TokenSourceMismatch),
        ("overloaded", _) => AttemptError::Refused(OrderError::Overloaded),
        ("invalid_state", _) => AttemptError::Refused(OrderError::Conflict),
        ("stale_version", _) => AttemptError::Retry(OrderError::Overtaken),
        _ => AttemptError::Refused(OrderError::Unforeseen(Arc::new(error))),
    }
}
