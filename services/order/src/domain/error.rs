//! Everything that can keep an order from being held, and what it means for
//! the idempotency key. Knows no HTTP: `problem.rs` does the translation.

use std::{sync::Arc, time::Duration};

use fenced_lock::{LockError, Token};

use crate::domain::order::{FieldError, OrderStatus, Sku};
use crate::inventory::client::CallError;
use crate::strategy::{Strategy, UnknownStrategy};

/// Why there is no order, or not yet.
///
/// Cheap to clone: orders that share a grant share what ends it, too.
#[derive(Debug, Clone, thiserror::Error)]
pub enum OrderError {
    /// The request itself is wrong.
    #[error("{} field(s) of the order are wrong", .0.len())]
    Invalid(Vec<FieldError>),
    /// No strategy has the name that was asked for.
    #[error("the strategy cannot be chosen")]
    UnknownStrategy(#[source] UnknownStrategy),
    /// The strategy exists, for the lab only.
    #[error("strategy {0} is not allowed while the lab is switched off")]
    StrategyNotAllowed(Strategy),
    /// The strategy locks with a server that this service was not told of.
    #[error("strategy {0} locks with a server that is not configured here")]
    StrategyNotConfigured(Strategy),
    /// An order cannot be placed without a key.
    #[error("the request has no idempotency key")]
    KeyMissing,
    /// The key was used for something else.
    #[error("the idempotency key belongs to another request")]
    KeyReused,
    /// The key's first request is still being worked on.
    #[error("the request with this idempotency key is still being worked on")]
    InProgress {
        /// Until when it may take.
        at_most: Duration,
    },
    /// No order has this id.
    #[error("there is no such order")]
    NoSuchOrder,
    /// The order is not in a state that allows it.
    #[error("the order is {}", .0.as_str())]
    InvalidState(OrderStatus),
    /// The hold ended before it was confirmed.
    #[error("the reservation expired")]
    ReservationExpired,

    /// Fewer units were seen than asked for.
    #[error("only {available} unit(s) of {sku} are available")]
    OutOfStock {
        /// Which is short.
        sku: Sku,
        /// How many there are.
        available: i64,
    },
    /// Inventory has never heard of it.
    #[error("there is no such SKU")]
    UnknownSku(Option<Sku>),
    /// Somebody with a newer token was there first, again and again.
    #[error("token {token} is older than {current}, which the storage has seen")]
    StaleToken {
        /// Which was refused; inventory may leave it out.
        sku: Option<Sku>,
        /// What was offered.
        token: u64,
        /// What the storage has.
        current: Token,
    },
    /// This SKU's tokens come from another lock.
    #[error("the SKU's tokens come from another source")]
    TokenSourceMismatch,
    /// Inventory holds a different reservation under this order's id.
    #[error("inventory has another reservation for this order")]
    Conflict,

    /// Others held the lock all the time.
    #[error("the lock was not had within {waited:?}")]
    LockTimeout {
        /// How long it was waited for.
        waited: Duration,
    },
    /// Whatever was read was no longer so when it came to writing, again and again.
    #[error("others came first every time")]
    Overtaken,
    /// The lease ended before the write was asked for.
    #[error("the lease ended before the write")]
    LeaseLapsed,
    /// Fewer than a quorum of lock nodes answered.
    #[error("the lock quorum is lost")]
    LockQuorum(#[source] LockError),
    /// The lock cannot be had in this way at all.
    #[error("the lock was asked for what it cannot do")]
    Lock(#[source] LockError),
    /// The database did not do its part; nothing was sold.
    #[error("the order database is away")]
    Database(#[source] Arc<sqlx::Error>),
    /// Inventory could not be reached, or could not work; nothing was sold.
    #[error("inventory is away")]
    Inventory(#[source] Arc<CallError>),
    /// Inventory, or the queue for a lock, has too much to do; nothing was sold.
    #[error("there is too much to do")]
    Overloaded,
    /// A write was sent and nobody knows, yet, whether it was done.
    #[error("it may have been reserved, or not; the same key finds out and never sells twice")]
    OutcomeUnknown,
    /// Inventory said something that makes no sense between these two services.
    #[error("inventory refused in a way that was not foreseen")]
    Unforeseen(#[source] Arc<CallError>),
    /// A defect of this service.
    #[error("defect: {0}")]
    Defect(&'static str),
}

impl From<sqlx::Error> for OrderError {
    fn from(error: sqlx::Error) -> Self {
        Self::Database(Arc::new(error))
    }
}

impl OrderError {
    /// Inventory is away, for everybody who waits for this call.
    pub fn inventory(error: CallError) -> Self {
        Self::Inventory(Arc::new(error))
    }
}

/// What becomes of the idempotency key when an attempt ends with an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Finality {
    /// The answer is final: store it, and give it again.
    Done,
    /// Definitely nothing was sold, and another try may do better.
    Free,
    /// Something may have been sold: another try must look it up first.
    Unresolved,
}

impl OrderError {
    /// Exhaustive on purpose: a new error must say whether it is final.
    pub fn finality(&self) -> Finality {
        match self {
            Self::OutOfStock { .. }
            | Self::UnknownSku(_)
            | Self::TokenSourceMismatch
            | Self::Conflict
            | Self::ReservationExpired
            | Self::InvalidState(_) => Finality::Done,
            Self::OutcomeUnknown => Finality::Unresolved,
            Self::Invalid(_)
            | Self::UnknownStrategy(_)
            | Self::StrategyNotAllowed(_)
            | Self::StrategyNotConfigured(_)
            | Self::KeyMissing
            | Self::KeyReused
            | Self::InProgress { .. }
            | Self::NoSuchOrder
            | Self::StaleToken { .. }
            | Self::LockTimeout { .. }
            | Self::Overtaken
            | Self::LeaseLapsed
            | Self::LockQuorum(_)
            | Self::Lock(_)
            | Self::Database(_)
            | Self::Inventory(_)
            | Self::Overloaded
            | Self::Unforeseen(_)
            | Self::Defect(_) => Finality::Free,
        }
    }

    /// No earlier write of the same order can stand: inventory knows of it and
    /// it ended, or it never could have been accepted.
    pub fn excludes_earlier_write(&self) -> bool {
        matches!(self, Self::ReservationExpired | Self::Conflict | Self::UnknownSku(_) | Self::TokenSourceMismatch)
    }

    /// The machine-readable name, as problems carry it.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Invalid(_) => "validation_failed",
            Self::UnknownStrategy(_) | Self::StrategyNotAllowed(_) | Self::StrategyNotConfigured(_) => {
                "strategy_not_allowed"
            }
            Self::KeyMissing => "idempotency_key_missing",
            Self::KeyReused => "idempotency_key_reused",
            Self::InProgress { .. } => "idempotency_in_progress",
            Self::NoSuchOrder | Self::UnknownSku(_) => "not_found",
            Self::InvalidState(_) | Self::Conflict => "invalid_state",
            Self::ReservationExpired => "reservation_expired",
            Self::OutOfStock { .. } => "out_of_stock",
            Self::StaleToken { .. } => "stale_fencing_token",
            Self::TokenSourceMismatch => "token_source_mismatch",
            Self::LockTimeout { .. } | Self::Overtaken | Self::LeaseLapsed => "lock_timeout",
            Self::LockQuorum(_) => "lock_quorum_unavailable",
            Self::Database(_) | Self::Inventory(_) | Self::OutcomeUnknown => "dependency_unavailable",
            Self::Overloaded => "overloaded",
            Self::Unforeseen(_) | Self::Lock(_) | Self::Defect(_) => "internal",
        }
    }
}
