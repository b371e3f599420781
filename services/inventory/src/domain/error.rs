//! Why stock was not read or changed. Knows no HTTP; `problem.rs` gives each its status.

use std::time::Duration;

use fenced_lock::LockError;
use uuid::Uuid;

use crate::strategy::Strategy;

/// Why stock was not read or changed.
#[derive(Debug, thiserror::Error)]
pub enum StockError {
    /// No such SKU.
    #[error("there is no SKU {sku}")]
    UnknownSku {
        /// Which.
        sku: String,
    },
    /// No such reservation.
    #[error("there is no such reservation")]
    UnknownReservation,
    /// Fewer units were seen than are wanted.
    #[error("{available} units of {sku} are left")]
    OutOfStock {
        /// Which.
        sku: String,
        /// How many were seen.
        available: i64,
    },
    /// Somebody with a newer token was here.
    #[error("token {token} for {sku} is stale, {current} is the latest")]
    StaleToken {
        /// Which.
        sku: String,
        /// What was brought.
        token: i64,
        /// What the row has.
        current: i64,
        /// Where it was noticed.
        step: ProtocolStep,
    },
    /// Somebody wrote since the decision was made.
    #[error("version {observed} of {sku} is stale, {current} is the latest")]
    StaleVersion {
        /// Which.
        sku: String,
        /// What was observed.
        observed: i64,
        /// What the row has.
        current: i64,
    },
    /// Tokens of two sources do not compare.
    #[error("tokens for {sku} come from {current}, not from {source_offered}")]
    TokenSourceMismatch {
        /// Which.
        sku: String,
        /// What the row is bound to.
        current: String,
        /// What was offered.
        source_offered: String,
    },
    /// Lowering stock below what is set aside.
    #[error("{held} units of {sku} are set aside, so {on_hand} cannot be all there is")]
    BelowHeld {
        /// Which.
        sku: String,
        /// What was asked for.
        on_hand: i64,
        /// What is set aside.
        held: i64,
    },
    /// The order has a reservation, for something else.
    #[error("order {order_id} has another reservation already")]
    OrderAlreadyReserved {
        /// Which.
        order_id: Uuid,
    },
    /// The reservation is not held any more.
    #[error("the reservation is {status}")]
    InvalidState {
        /// What it is.
        status: String,
    },
    /// The hold ended before it was confirmed.
    #[error("the hold has ended")]
    HoldExpired,
    /// The request is not acceptable: where and why.
    #[error("{1} at {0}")]
    Invalid(String, String),
    /// No strategy has this name.
    #[error(transparent)]
    UnknownStrategy(#[from] crate::strategy::UnknownStrategy),
    /// It oversells, and the lab is off.
    #[error("strategy {0} oversells and is for the lab only")]
    StrategyNotAllowed(Strategy),
    /// Somebody else had the lock all the time.
    #[error("the lock was not had within {waited:?}")]
    LockTimeout {
        /// How long it was waited for.
        waited: Duration,
    },
    /// The lease ended before the write was asked for.
    #[error("the lease ended before the write")]
    LeaseLapsed,
    /// Too few lock nodes answered: nothing was written.
    #[error("the lock quorum is not available")]
    LockQuorumUnavailable(#[source] LockError),
    /// More is being worked on than is taken on.
    #[error("too much is waiting for the same stock")]
    Overloaded,
    /// The lock library was asked for what it cannot do.
    #[error("the lock could not be used")]
    UnexpectedLockError(#[source] LockError),
    /// Something that was thought impossible.
    #[error("{0}")]
    Defect(&'static str),
    /// The database did not answer in time.
    #[error("postgres is not available")]
    PostgresUnavailable(#[source] sqlx::Error),
    /// A defect.
    #[error("unforeseen answer of postgres")]
    UnexpectedPostgresError(#[source] sqlx::Error),
}

/// Where a stale token was noticed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProtocolStep {
    /// Before reading.
    Claim,
    /// At the write.
    Write,
}

impl ProtocolStep {
    /// As in `fence_refusals.step`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Claim => "claim",
            Self::Write => "write",
        }
    }
}
