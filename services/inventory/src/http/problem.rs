//! The one place where an error becomes a problem (RFC 9457). Exhaustive on purpose: a new error must be
//! given its status here before it compiles.

use std::time::Duration;

use axum::{
    http::StatusCode,
    response::{IntoResponse, Response},
};
use service_kit::problem::{FieldError, Problem};

use crate::{domain::error::StockError, outages};

/// Locks come free and nodes come back within this, mostly.
const SOON: Duration = Duration::from_secs(1);

impl From<StockError> for Problem {
    fn from(error: StockError) -> Self {
        let detail = error.to_string();
        let conflict = |code, title| Self::new(StatusCode::CONFLICT, code, title, detail.clone());
        match error {
            StockError::UnknownSku { sku } => Self::not_found(format!("there is no SKU {sku}")),
            StockError::UnknownReservation => Self::not_found(detail),
            StockError::OutOfStock { sku, available } => {
                conflict("out_of_stock", "Out of stock").with("sku", sku).with("available", available)
            }
            StockError::StaleToken { sku, token, current, step: _ } => {
                let problem = conflict("stale_fencing_token", "A newer holder was here").retryable();
                problem.with("sku", sku).with("token", token).with("current", current)
            }
            StockError::StaleVersion { sku, observed, current } => {
                let problem = conflict("stale_version", "Somebody wrote since it was read").retryable();
                problem.with("sku", sku).with("observed", observed).with("current", current)
            }
            StockError::TokenSourceMismatch { sku, current, source_offered } => {
                let problem = conflict("token_source_mismatch", "Tokens of two sources do not compare");
                problem.with("sku", sku).with("token_source", source_offered).with("current", current)
            }
            StockError::BelowHeld { sku, on_hand: _, held } => {
                conflict("invalid_state", "Below what is held").with("sku", sku).with("held", held)
            }
            StockError::OrderAlreadyReserved { order_id } => {
                conflict("invalid_state", "The order has another reservation").with("order_id", order_id)
            }
            StockError::InvalidState { status } => {
                conflict("invalid_state", "Not in a state that allows it").with("state", status)
            }
            StockError::HoldExpired => conflict("reservation_expired", "The hold has ended"),
            StockError::Invalid(pointer, detail) => Self::validation_failed(vec![FieldError { pointer, detail }]),
            StockError::UnknownStrategy(_) => {
                let status = StatusCode::UNPROCESSABLE_ENTITY;
                Self::new(status, "strategy_not_allowed", "No such strategy", detail)
            }
            StockError::StrategyNotAllowed(_) => {
                Self::new(StatusCode::FORBIDDEN, "strategy_not_allowed", "For the lab only", detail)
            }
            StockError::LockTimeout { .. } | StockError::LeaseLapsed => {
                unavailable("lock_timeout", "Somebody else had the lock", detail)
            }
            StockError::LockQuorumUnavailable(_) => {
                unavailable("lock_quorum_unavailable", "Too few lock nodes answer", detail)
            }
            StockError::Overloaded => Self::overloaded(),
            StockError::PostgresUnavailable(_) => Self::dependency_unavailable("postgres"),
            StockError::UnexpectedLockError(_) | StockError::Defect(_) | StockError::UnexpectedPostgresError(_) => {
                Self::internal()
            }
        }
    }
}

fn unavailable(code: &'static str, title: &'static str, detail: String) -> Problem {
    Problem::new(StatusCode::SERVICE_UNAVAILABLE, code, title, detail).retry_after(SOON)
}

impl IntoResponse for StockError {
    fn into_response(self) -> Response {
        let error = &self as &(dyn std::error::Error + 'static);
        match &self {
            Self::UnexpectedPostgresError(_) | Self::UnexpectedLockError(_) | Self::Defect(_) => {
                tracing::error!(error, "a request failed unexpectedly");
            }
            Self::PostgresUnavailable(_) => outages::POSTGRES.record_failure(error),
            Self::LockQuorumUnavailable(_) => outages::LOCKS.record_failure(error),
            Self::UnknownSku { .. }
            | Self::UnknownReservation
            | Self::OutOfStock { .. }
            | Self::StaleToken { .. }
            | Self::StaleVersion { .. }
            | Self::TokenSourceMismatch { .. }
            | Self::BelowHeld { .. }
            | Self::OrderAlreadyReserved { .. }
            | Self::InvalidState { .. }
            | Self::HoldExpired
            | Self::Invalid(..)
            | Self::UnknownStrategy(_)
            | Self::StrategyNotAllowed(_)
            | Self::LockTimeout { .. }
            | Self::LeaseLapsed
            | Self::Overloaded => tracing::debug!(error, "a request was refused"),
        }
        Problem::from(self).into_response()
    }
}
