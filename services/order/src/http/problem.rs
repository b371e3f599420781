//! The one place where an error becomes a problem (RFC 9457). Exhaustive on
//! purpose: a new error must be given its status here before it compiles.

use std::time::Duration;

use axum::{
    http::StatusCode,
    response::{IntoResponse, Response},
};
use service_kit::problem::{FieldError, Problem};

use crate::domain::error::OrderError;
use crate::outages;

const SOON: Duration = Duration::from_secs(1);

/// As `From`, and logged, once, if somebody should look into it.
pub fn problem(error: OrderError) -> Problem {
    let cause = &error as &dyn std::error::Error;
    match &error {
        OrderError::Unforeseen(_) | OrderError::Lock(_) | OrderError::Defect(_) => {
            tracing::error!(error = cause, "an order failed unexpectedly");
        }
        OrderError::Database(_) => outages::POSTGRES.record_failure(&error),
        OrderError::Inventory(_) | OrderError::OutcomeUnknown => outages::INVENTORY.record_failure(&error),
        OrderError::LockQuorum(_) => outages::LOCKS.record_failure(&error),
        OrderError::Invalid(_)
        | OrderError::UnknownStrategy(_)
        | OrderError::StrategyNotAllowed(_)
        | OrderError::StrategyNotConfigured(_)
        | OrderError::KeyMissing
        | OrderError::KeyReused
        | OrderError::InProgress { .. }
        | OrderError::NoSuchOrder
        | OrderError::InvalidState(_)
        | OrderError::ReservationExpired
        | OrderError::OutOfStock { .. }
        | OrderError::UnknownSku(_)
        | OrderError::StaleToken { .. }
        | OrderError::TokenSourceMismatch
        | OrderError::Conflict
        | OrderError::LockTimeout { .. }
        | OrderError::Overtaken
        | OrderError::LeaseLapsed
        | OrderError::Overloaded => tracing::debug!(error = cause, "an order was refused"),
    }
    error.into()
}

impl From<OrderError> for Problem {
    fn from(error: OrderError) -> Self {
        let (code, detail) = (error.code(), error.to_string());
        let new = |status, title| Self::new(status, code, title, detail.clone());
        match error {
            OrderError::Invalid(errors) => Self::validation_failed(field_errors(errors)),
            OrderError::UnknownStrategy(_) => new(StatusCode::UNPROCESSABLE_ENTITY, "No such strategy"),
            OrderError::StrategyNotConfigured(_) => {
                new(StatusCode::UNPROCESSABLE_ENTITY, "Strategy not configured here")
            }
            OrderError::StrategyNotAllowed(_) => new(StatusCode::FORBIDDEN, "Strategy not allowed"),
            OrderError::KeyMissing => new(StatusCode::BAD_REQUEST, "Idempotency-Key is missing"),
            OrderError::KeyReused => new(StatusCode::UNPROCESSABLE_ENTITY, "Idempotency-Key was used before"),
            OrderError::InProgress { at_most } => {
                new(StatusCode::CONFLICT, "The first request is still being worked on").retry_after(at_most.min(SOON))
            }
            OrderError::UnknownSku(Some(sku)) => new(StatusCode::NOT_FOUND, "Not found").with("sku", sku),
            OrderError::NoSuchOrder | OrderError::UnknownSku(None) => new(StatusCode::NOT_FOUND, "Not found"),
            OrderError::InvalidState(status) => {
                new(StatusCode::CONFLICT, "Not in a state that allows this").with("order_status", status)
            }
            OrderError::ReservationExpired => new(StatusCode::CONFLICT, "The reservation expired"),
            OrderError::OutOfStock { sku, available } => {
                new(StatusCode::CONFLICT, "Out of stock").with("sku", sku).with("available", available)
            }
            OrderError::StaleToken { token, current, .. } => new(StatusCode::CONFLICT, "Stale fencing token")
                .with("token", token)
                .with("current", current.get())
                .retryable(),
            OrderError::TokenSourceMismatch => new(StatusCode::CONFLICT, "Another token source"),
            OrderError::Conflict => new(StatusCode::CONFLICT, "Another reservation"),
            OrderError::LockTimeout { .. } | OrderError::Overtaken | OrderError::LeaseLapsed => {
                new(StatusCode::SERVICE_UNAVAILABLE, "The lock was not had in time").retry_after(SOON)
            }
            OrderError::LockQuorum(_) => {
                new(StatusCode::SERVICE_UNAVAILABLE, "The lock quorum is lost").retry_after(SOON)
            }
            OrderError::Database(_) => Self::dependency_unavailable("postgres"),
            OrderError::Inventory(_) => Self::dependency_unavailable("inventory"),
            OrderError::OutcomeUnknown => {
                let title = "The outcome is not known yet";
                new(StatusCode::SERVICE_UNAVAILABLE, title).retry_after(SOON)
            }
            OrderError::Overloaded => Self::overloaded(),
            OrderError::Unforeseen(_) | OrderError::Lock(_) | OrderError::Defect(_) => Self::internal(),
        }
    }
}

fn field_errors(errors: Vec<crate::domain::order::FieldError>) -> Vec<FieldError> {
    let named = |crate::domain::order::FieldError { pointer, detail }| FieldError { pointer, detail };
    errors.into_iter().map(named).collect()
}

impl IntoResponse for OrderError {
    fn into_response(self) -> Response {
        problem(self).into_response()
    }
}
