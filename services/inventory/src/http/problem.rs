//! The one place where an error becomes a problem (RFC 9457). Exhaustive: a new error does not compile until it has
//! a status here.

use std::{error::Error, time::Duration};

use axum::{
    http::StatusCode,
    response::{IntoResponse, Response},
};
use service_kit::problem::{FieldError, Problem};

use crate::{domain::error::StockError, outages};

/// Locks are released and nodes restarted within this time, mostly.
const RETRY_AFTER: Duration = Duration::from_secs(1);

impl From<StockError> for Problem {
    fn from(error: StockError) -> Self {
        let (code, detail) = (error.code().as_str(), error.to_string());
        let problem = |status, title| Self::new(status, code, title, detail.clone());
        let conflict = |title| problem(StatusCode::CONFLICT, title);
        match error {
            StockError::UnknownSku { .. } | StockError::UnknownReservation => Self::not_found(detail),
            StockError::PastRetention => problem(StatusCode::GONE, "Past retention"),
            StockError::OutOfStock { sku, available } => {
                conflict("Out of stock").with("sku", sku).with("available", available)
            }
            StockError::StaleToken { sku, token, current, step: _ } => {
                let problem = conflict("Stale fencing token").retryable();
                problem.with("sku", sku).with("token", token).with("current", current)
            }
            StockError::StaleVersion { sku, observed, current } => {
                let problem = conflict("Stock changed since it was read").retryable();
                problem.with("sku", sku).with("observed", observed).with("current", current)
            }
            StockError::TokenSourceMismatch { sku, current, offered } => {
                let problem = conflict("Fencing token from another source");
                problem.with("sku", sku).with("token_source", offered).with("current", current)
            }
            StockError::BelowHeld { sku, on_hand: _, held } => {
                conflict(INVALID_STATE).with("sku", sku).with("held", held)
            }
            StockError::OrderAlreadyReserved { order_id } => conflict(INVALID_STATE).with("order_id", order_id),
            StockError::BatchOverlaps => conflict(INVALID_STATE),
            StockError::InvalidState { status } => conflict(INVALID_STATE).with("state", status),
            StockError::HoldExpired => conflict("Reservation expired"),
            StockError::InvalidField { pointer, detail } => {
                Self::validation_failed(vec![FieldError { pointer, detail }])
            }
            StockError::UnknownStrategy(_) => problem(StatusCode::UNPROCESSABLE_ENTITY, STRATEGY_NOT_ALLOWED),
            StockError::StrategyNotAllowed(_) => problem(StatusCode::FORBIDDEN, STRATEGY_NOT_ALLOWED),
            StockError::LockTimeout { .. } | StockError::LeaseLapsed => {
                problem(StatusCode::SERVICE_UNAVAILABLE, "No valid lock in time").retry_after(RETRY_AFTER)
            }
            StockError::LockQuorumUnavailable(_) => {
                problem(StatusCode::SERVICE_UNAVAILABLE, "Lock quorum unavailable").retry_after(RETRY_AFTER)
            }
            StockError::Overloaded => Self::overloaded(),
            StockError::SkuBusy { sku, waited: _ } => {
                problem(StatusCode::TOO_MANY_REQUESTS, "Too many requests for one SKU")
                    .with("sku", sku)
                    .retry_after(RETRY_AFTER)
            }
            StockError::PostgresUnavailable(_) => Self::dependency_unavailable("postgres"),
            StockError::UnexpectedLockError(_)
            | StockError::UnexpectedPostgresError(_)
            | StockError::WriteTaskFailed(_)
            | StockError::Defect(_) => Self::internal(),
        }
    }
}

const INVALID_STATE: &str = "The current state does not allow this";
const STRATEGY_NOT_ALLOWED: &str = "Strategy not allowed";

impl IntoResponse for StockError {
    fn into_response(self) -> Response {
        let error = &self as &(dyn Error + 'static);
        match &self {
            Self::UnexpectedPostgresError(_)
            | Self::UnexpectedLockError(_)
            | Self::WriteTaskFailed(_)
            | Self::Defect(_) => tracing::error!(error, "request failed because of a defect: answered with 500"),
            Self::PostgresUnavailable(_) | Self::LockQuorumUnavailable(_) => outages::record_failure(&self),
            Self::UnknownSku { .. }
            | Self::UnknownReservation
            | Self::PastRetention
            | Self::OutOfStock { .. }
            | Self::StaleToken { .. }
            | Self::StaleVersion { .. }
            | Self::TokenSourceMismatch { .. }
            | Self::BelowHeld { .. }
            | Self::OrderAlreadyReserved { .. }
            | Self::BatchOverlaps
            | Self::InvalidState { .. }
            | Self::HoldExpired
            | Self::InvalidField { .. }
            | Self::UnknownStrategy(_)
            | Self::StrategyNotAllowed(_)
            | Self::LockTimeout { .. }
            | Self::LeaseLapsed
            | Self::Overloaded
            | Self::SkuBusy { .. } => tracing::debug!(error, "request refused"),
        }
        Problem::from(self).into_response()
    }
}
