//! Why stock was not read or changed. Absence: no HTTP; `http/problem.rs` gives each error its status.

use std::{sync::Arc, time::Duration};

use contract::{ProblemCode, ReservationStatus, Sku, Strategy};
use fenced_lock::LockError;
use strum::IntoStaticStr;
use uuid::Uuid;

/// Why stock was not read or changed.
#[derive(Debug, thiserror::Error, strum::VariantNames, IntoStaticStr)]
pub enum StockError {
    /// No row of `stock` has this SKU.
    #[error("SKU {sku} does not exist")]
    UnknownSku {
        /// As the request spells it.
        sku: String,
    },
    /// No row of `reservations` has this id or order id.
    #[error("the reservation does not exist")]
    UnknownReservation,
    /// The order has no reservation any more, or never had one: reservations of its age may have been deleted.
    #[error("the order is older than what is retained: its reservation may have been deleted")]
    PastRetention,
    /// Fewer units are available than requested.
    #[error("SKU {sku} has too few units: {available} available")]
    OutOfStock {
        /// The SKU with too few units.
        sku: Sku,
        /// Units when the decision was made.
        available: i64,
    },
    /// A newer token was claimed or written, or this token was written before.
    #[error("fencing token {token} for SKU {sku} is stale: the storage has registered {current}")]
    StaleToken {
        /// The SKU whose token is stale.
        sku: Sku,
        /// The token of the request.
        token: i64,
        /// `stock.fence`.
        current: i64,
        /// The step that was refused.
        step: ProtocolStep,
    },
    /// The row was written since it was read.
    #[error("version {observed} of SKU {sku} is stale: the current version is {current}")]
    StaleVersion {
        /// The SKU whose version is stale.
        sku: Sku,
        /// The version in the request.
        observed: i64,
        /// `stock.version`.
        current: i64,
    },
    /// Tokens of two sources do not compare.
    #[error("SKU {sku} takes its fencing tokens from {current}, not from {offered}")]
    TokenSourceMismatch {
        /// The SKU that is bound to another source.
        sku: Sku,
        /// `stock.token_source`.
        current: String,
        /// The source of the request's token.
        offered: String,
    },
    /// A restock would leave fewer units than held reservations have.
    #[error("{on_hand} units on hand are too few for SKU {sku}: reservations hold {held}")]
    BelowHeld {
        /// The SKU to be restocked.
        sku: Sku,
        /// The units of the request.
        on_hand: i64,
        /// Units in held reservations.
        held: i64,
    },
    /// The order has a reservation for other units.
    #[error("order {order_id} already has a reservation for other units")]
    OrderAlreadyReserved {
        /// The order.
        order_id: Uuid,
    },
    /// At each attempt, an order of the batch had been reserved by another request. Nothing was written.
    #[error("orders of this batch were reserved by other requests in the meantime; nothing was written")]
    BatchOverlaps,
    /// The reservation is not held any more.
    #[error("the reservation is {status}")]
    InvalidState {
        /// Its state.
        status: ReservationStatus,
    },
    /// The hold ended before it was confirmed.
    #[error("the hold ended before it was confirmed")]
    HoldExpired,
    /// A field of the request is not acceptable.
    #[error("{pointer}: {detail}")]
    InvalidField {
        /// JSON pointer (RFC 6901); `/query/…` and `/headers/…` for what is not in the body.
        pointer: String,
        /// What is wrong with it.
        detail: String,
    },
    /// No strategy has this name.
    #[error("strategy {0:?} does not exist")]
    UnknownStrategy(String),
    /// The strategy can oversell, and the lab is off.
    #[error("strategy {0} can oversell: it is allowed only where the lab is on")]
    StrategyNotAllowed(Strategy),
    /// Another client held the lock during the whole wait.
    #[error("the lock was not acquired within {waited:?}")]
    LockTimeout {
        /// The wait.
        waited: Duration,
    },
    /// The lease ended before the write was sent.
    #[error("the lock's lease ended before the write was sent")]
    LeaseLapsed,
    /// Fewer than a quorum of the lock nodes answered. Nothing was written.
    #[error("fewer than a quorum of the lock nodes answered")]
    LockQuorumUnavailable(#[source] LockError),
    /// Too many requests of this process wait for the same lock.
    #[error("too many requests wait for the same lock")]
    Overloaded,
    /// Other statements of this SKU used every connection that one SKU may use. Nothing was written.
    #[error("other requests for SKU {sku} did not end within {waited:?}")]
    SkuBusy {
        /// The SKU.
        sku: Sku,
        /// The wait.
        waited: Duration,
    },
    /// Postgres did not answer in time, or cannot be reached.
    #[error("postgres is unavailable")]
    PostgresUnavailable(#[source] Arc<sqlx::Error>),
    /// A defect: the lock library was called with arguments that it refuses.
    #[error("the lock library refused the call")]
    UnexpectedLockError(#[source] LockError),
    /// A defect: Postgres refused a statement for a reason that is no rule of stock.
    #[error("postgres refused the statement")]
    UnexpectedPostgresError(#[source] Arc<sqlx::Error>),
    /// A defect: the task of a write panicked. The write may have been sent.
    #[error("the task of a write did not end normally")]
    WriteTaskFailed(#[source] tokio::task::JoinError),
    /// A defect that none of the others describes.
    #[error("{0}")]
    Defect(&'static str),
}

impl StockError {
    /// A field of the request is not acceptable; `pointer` is its JSON pointer.
    pub fn invalid_field(pointer: impl Into<String>, detail: impl Into<String>) -> Self {
        Self::InvalidField { pointer: pointer.into(), detail: detail.into() }
    }

    /// What programs match on.
    pub fn code(&self) -> ProblemCode {
        match self {
            Self::UnknownSku { .. } | Self::UnknownReservation => ProblemCode::NotFound,
            Self::PastRetention => ProblemCode::PastRetention,
            Self::OutOfStock { .. } => ProblemCode::OutOfStock,
            Self::StaleToken { .. } => ProblemCode::StaleFencingToken,
            Self::StaleVersion { .. } => ProblemCode::StaleVersion,
            Self::TokenSourceMismatch { .. } => ProblemCode::TokenSourceMismatch,
            Self::BelowHeld { .. }
            | Self::OrderAlreadyReserved { .. }
            | Self::BatchOverlaps
            | Self::InvalidState { .. } => ProblemCode::InvalidState,
            Self::HoldExpired => ProblemCode::ReservationExpired,
            Self::InvalidField { .. } => ProblemCode::ValidationFailed,
            Self::UnknownStrategy(_) | Self::StrategyNotAllowed(_) => ProblemCode::StrategyNotAllowed,
            Self::LockTimeout { .. } | Self::LeaseLapsed => ProblemCode::LockTimeout,
            Self::LockQuorumUnavailable(_) => ProblemCode::LockQuorumUnavailable,
            Self::Overloaded | Self::SkuBusy { .. } => ProblemCode::Overloaded,
            Self::PostgresUnavailable(_) => ProblemCode::DependencyUnavailable,
            Self::UnexpectedLockError(_)
            | Self::UnexpectedPostgresError(_)
            | Self::WriteTaskFailed(_)
            | Self::Defect(_) => ProblemCode::Internal,
        }
    }
}

/// The step of the protocol at which a token was refused; the names are those of `fence_refusals.step`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, IntoStaticStr)]
#[strum(serialize_all = "lowercase")]
pub enum ProtocolStep {
    /// Registering the token, before the read.
    Claim,
    /// Writing with it.
    Write,
}

impl ProtocolStep {
    /// The name in `fence_refusals.step`.
    pub fn name(self) -> &'static str {
        self.into()
    }
}
