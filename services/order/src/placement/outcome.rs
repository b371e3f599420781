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
pub enum Setback {
    /// This pass wrote nothing, and another would not either.
    Refused(OrderError),
    /// This pass wrote nothing; another grant may do better.
    TryAgain(OrderError),
    /// The write was sent, and nobody answered.
    Unheard,
}

/// A reservation that was cancelled or has expired meanwhile is none.
///
/// # Errors
/// It does not stand.
pub(crate) fn standing(reservation: Reservation) -> Result<Reservation, Setback> {
    if reservation.stands() { Ok(reservation) } else { Err(Setback::Refused(OrderError::ReservationExpired)) }
}

/// What it means that the lock could not be asked for.
pub(crate) fn not_granted(error: LockError) -> Setback {
    match error {
        LockError::QuorumUnavailable { .. } | LockError::Unavailable { .. } => {
            Setback::Refused(OrderError::LockQuorum(error))
        }
        LockError::Lapsed { .. } | LockError::Lost { .. } => Setback::TryAgain(OrderError::LeaseLapsed),
        LockError::TooManyWaiters { .. } => Setback::Refused(OrderError::Overloaded),
        LockError::ResourceCount { .. }
        | LockError::NoTokens { .. }
        | LockError::FloorOutOfReach { .. }
        | LockError::TokensExhausted { .. } => Setback::Refused(OrderError::Lock(error)),
    }
}

/// What a failed call means where it certainly wrote nothing.
pub(crate) fn nothing_written(error: CallError) -> Setback {
    let CallError::Refused(refusal) = &error else {
        return match error {
            CallError::NoAnswer(_) => Setback::TryAgain(OrderError::inventory(error)),
            _ => Setback::Refused(OrderError::inventory(error)),
        };
    };
    let Refusal { code, sku, available, token, current, .. } = refusal.clone();
    match (code.as_str(), current.and_then(|current| Token::new(current).ok())) {
        ("stale_fencing_token", Some(current)) => {
            Setback::TryAgain(OrderError::StaleToken { sku, token: token.unwrap_or(0), current })
        }
        ("out_of_stock", _) => match sku {
            Some(sku) => Setback::Refused(OrderError::OutOfStock { sku, available: available.unwrap_or(0) }),
            None => Setback::Refused(OrderError::Unforeseen(Arc::new(error))),
        },
        ("not_found", _) => Setback::Refused(OrderError::UnknownSku(sku)),
        ("token_source_mismatch", _) => Setback::Refused(OrderError::TokenSourceMismatch),
        ("overloaded", _) => Setback::Refused(OrderError::Overloaded),
        ("invalid_state", _) => Setback::Refused(OrderError::Conflict),
        ("stale_version", _) => Setback::TryAgain(OrderError::Overtaken),
        _ => Setback::Refused(OrderError::Unforeseen(Arc::new(error))),
    }
}
