//! Everything that can keep an order from being held, and what it means for
//! the idempotency key.
//!
//! Absence: no HTTP and no SQL; `http::problem` gives each error its status.

use std::{error::Error, sync::Arc, time::Duration};

use contract::{LockKind, ProblemCode, Sku, Strategy};
use failure_kind::FailureKind;
use fenced_lock::{LockError, Token};

use crate::domain::order::{FieldError, OrderStatus};

/// An error of a database or of a call, shared by the orders of one batch.
pub type Cause = Arc<dyn Error + Send + Sync>;

/// Why an order is not held, or not yet.
///
/// Cheap to clone: one failure may end every order of a batch.
#[derive(Debug, Clone, thiserror::Error, strum::EnumCount)]
pub enum OrderError {
    /// Fields of the request are not acceptable.
    #[error("{} field(s) of the order are not acceptable", .0.len())]
    Invalid(Vec<FieldError>),
    /// No strategy has this name.
    #[error("there is no strategy {0:?}")]
    UnknownStrategy(String),
    /// The strategy can oversell, so only a lab may use it.
    #[error("strategy {0} is allowed only where the lab is switched on")]
    StrategyNotAllowed(Strategy),
    /// The address of the strategy's lock server is missing from the configuration.
    #[error("the lock server of strategy {0} is not configured")]
    StrategyNotConfigured(Strategy),
    /// The request has no `Idempotency-Key`.
    #[error("the request has no Idempotency-Key header")]
    KeyMissing,
    /// A header that may be sent once was sent several times.
    #[error("the header {0} was sent more than once; it may be sent once")]
    HeaderRepeated(&'static str),
    /// The key was first sent with another request.
    #[error("the idempotency key belongs to another request")]
    KeyReused,
    /// The first request with this key has not ended yet.
    #[error("the first request with this idempotency key is still in progress")]
    InProgress {
        /// How long until a retry may take the order over at the latest, unless the replica that works on it is seen
        /// again.
        at_most: Duration,
    },
    /// No order has this id.
    #[error("no order has this id")]
    NoSuchOrder,
    /// The state of the order does not allow it.
    #[error("the order is {}", .0.name())]
    InvalidState(OrderStatus),
    /// The hold ended before the order was confirmed.
    #[error("the reservation has expired")]
    ReservationExpired,

    /// Fewer units than the order needs.
    #[error("{available} unit(s) of {sku} are available, fewer than the order needs")]
    OutOfStock {
        /// The SKU that is short.
        sku: Sku,
        /// Units of it.
        available: i64,
    },
    /// Inventory has no stock row of a SKU; `None` if it did not name the SKU.
    #[error("inventory has no such SKU")]
    UnknownSku(Option<Sku>),
    /// The storage had registered a newer token in every attempt.
    #[error("fencing token {token} is stale: the storage has registered {current}")]
    StaleToken {
        /// The SKU; `None` if inventory did not name it.
        sku: Option<Sku>,
        /// The token of this order's lock.
        token: u64,
        /// The newest token that the storage has registered.
        current: Token,
    },
    /// The SKU is bound to the tokens of another lock service.
    #[error("the SKU is bound to fencing tokens of another lock service")]
    TokenSourceMismatch,
    /// Inventory has a reservation with other lines under this order's id.
    #[error("inventory has another reservation for this order")]
    Conflict,

    /// Other orders held the lock all the time.
    #[error("the lock was not acquired within {waited:?}")]
    LockTimeout {
        /// How long the order waited.
        waited: Duration,
    },
    /// Other orders changed the stock between read and write in every attempt.
    #[error("other orders changed the stock between read and write")]
    Overtaken,
    /// The lease ended before the write was sent.
    #[error("the lock's lease ended before the write was sent")]
    LeaseLapsed,
    /// The payment provider did not authorise the payment in time.
    #[error("the payment was not authorised within {limit:?}; it is voided")]
    PaymentTimeout {
        /// The time there is for it.
        limit: Duration,
    },
    /// Fewer than a quorum of the lock's servers answered.
    #[error("fewer than a quorum of the lock nodes answered")]
    LockQuorum {
        /// Which lock.
        lock: LockKind,
        /// What its servers answered.
        #[source]
        error: LockError,
    },
    /// The lock refused the request itself: a defect of this service.
    #[error("the lock refused the request")]
    Lock(#[source] LockError),
    /// The database of this service failed; nothing was sold.
    #[error("the order database failed")]
    Database {
        /// How.
        kind: FailureKind,
        /// Its error.
        #[source]
        cause: Cause,
    },
    /// Inventory was unreachable or failed; nothing was sold.
    #[error("the call to inventory failed")]
    Inventory {
        /// How.
        kind: FailureKind,
        /// The error of the call.
        #[source]
        cause: Cause,
    },
    /// Inventory or the queue for a lock is full; nothing was sold.
    #[error("the queue for the lock, or inventory, is full")]
    Overloaded,
    /// A write was sent and its outcome is not known yet.
    #[error(
        "the units may have been reserved; a retry with the same idempotency key resolves the outcome and sells at most once"
    )]
    OutcomeUnknown,
    /// Inventory answered outside of its contract.
    #[error("inventory answered outside of its contract")]
    Unforeseen(#[source] Cause),
    /// A defect of this service.
    #[error("defect: {0}")]
    Defect(&'static str),
}

impl OrderError {
    /// The database of this service failed in this way: it is down, or what was sent to it is a defect.
    pub fn of_database(kind: FailureKind, cause: Cause) -> Self {
        if kind.is_outage() { Self::Database { kind, cause } } else { Self::Unforeseen(cause) }
    }

    /// A call to inventory failed in this way and certainly wrote nothing.
    pub fn inventory(kind: FailureKind, error: impl Error + Send + Sync + 'static) -> Self {
        Self::Inventory { kind, cause: Arc::new(error) }
    }

    /// How a dependency failed, where one did.
    pub fn failure_kind(&self) -> Option<FailureKind> {
        match self {
            Self::Database { kind, .. } | Self::Inventory { kind, .. } => Some(*kind),
            Self::LockQuorum { error, .. } => error.failure_kind(),
            _ => None,
        }
    }

    /// Inventory's answer is not part of its contract.
    pub fn unforeseen(error: impl Error + Send + Sync + 'static) -> Self {
        Self::Unforeseen(Arc::new(error))
    }
}

/// What an error means for the idempotency key of its order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Finality {
    /// The answer is stored, and sent again to every retry.
    Final,
    /// Certainly nothing was sold, and a retry may succeed: the key becomes free.
    Retryable,
    /// Units may have been sold: a retry must query the reservation first.
    Unresolved,
}

impl OrderError {
    /// Exhaustive on purpose: a new error does not compile until it has a finality.
    pub fn finality(&self) -> Finality {
        match self {
            Self::OutOfStock { .. }
            | Self::UnknownSku(_)
            | Self::TokenSourceMismatch
            | Self::Conflict
            | Self::ReservationExpired
            | Self::InvalidState(_) => Finality::Final,
            Self::OutcomeUnknown => Finality::Unresolved,
            Self::Invalid(_)
            | Self::UnknownStrategy(_)
            | Self::StrategyNotAllowed(_)
            | Self::StrategyNotConfigured(_)
            | Self::KeyMissing
            | Self::HeaderRepeated(_)
            | Self::KeyReused
            | Self::InProgress { .. }
            | Self::NoSuchOrder
            | Self::StaleToken { .. }
            | Self::LockTimeout { .. }
            | Self::Overtaken
            | Self::LeaseLapsed
            | Self::PaymentTimeout { .. }
            | Self::LockQuorum { .. }
            | Self::Lock(_)
            | Self::Database { .. }
            | Self::Inventory { .. }
            | Self::Overloaded
            | Self::Unforeseen(_)
            | Self::Defect(_) => Finality::Retryable,
        }
    }

    /// The error proves that no earlier write of the same order counts:
    /// inventory ended that reservation, or would never have accepted it.
    pub fn excludes_earlier_write(&self) -> bool {
        matches!(self, Self::ReservationExpired | Self::Conflict | Self::UnknownSku(_) | Self::TokenSourceMismatch)
    }

    /// The machine-readable reason, as problems carry it.
    pub fn code(&self) -> ProblemCode {
        match self {
            Self::Invalid(_) => ProblemCode::ValidationFailed,
            Self::UnknownStrategy(_) | Self::StrategyNotAllowed(_) | Self::StrategyNotConfigured(_) => {
                ProblemCode::StrategyNotAllowed
            }
            Self::KeyMissing => ProblemCode::IdempotencyKeyMissing,
            Self::HeaderRepeated(_) => ProblemCode::HeaderRepeated,
            Self::KeyReused => ProblemCode::IdempotencyKeyReused,
            Self::InProgress { .. } => ProblemCode::IdempotencyInProgress,
            Self::NoSuchOrder | Self::UnknownSku(_) => ProblemCode::NotFound,
            Self::InvalidState(_) | Self::Conflict => ProblemCode::InvalidState,
            Self::ReservationExpired => ProblemCode::ReservationExpired,
            Self::OutOfStock { .. } => ProblemCode::OutOfStock,
            Self::StaleToken { .. } => ProblemCode::StaleFencingToken,
            Self::TokenSourceMismatch => ProblemCode::TokenSourceMismatch,
            Self::LockTimeout { .. } | Self::Overtaken | Self::LeaseLapsed => ProblemCode::LockTimeout,
            Self::PaymentTimeout { .. } => ProblemCode::PaymentTimeout,
            Self::LockQuorum { .. } => ProblemCode::LockQuorumUnavailable,
            Self::Database { .. } | Self::Inventory { .. } | Self::OutcomeUnknown => ProblemCode::DependencyUnavailable,
            Self::Overloaded => ProblemCode::Overloaded,
            Self::Unforeseen(_) | Self::Lock(_) | Self::Defect(_) => ProblemCode::Internal,
        }
    }
}
