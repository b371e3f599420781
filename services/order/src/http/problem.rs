//! The one place where an error becomes a problem (RFC 9457). Exhaustive on
//! purpose: a new error does not compile until it has a status and a title.

use std::time::Duration;

use axum::{
    http::StatusCode,
    response::{IntoResponse, Response},
};
use service_kit::problem::{FieldError, Problem};

use crate::{dependencies, domain::error::OrderError};

const SOON: Duration = Duration::from_secs(1);

/// The problem of the error, which is logged once: a defect as an error, a
/// dependency that fails as an outage, everything else for debugging.
pub fn report(error: OrderError) -> Problem {
    let cause = &error as &dyn std::error::Error;
    match &error {
        OrderError::Unforeseen(_) | OrderError::Lock(_) | OrderError::Defect(_) => {
            tracing::error!(error = cause, "order failed by a defect; it is answered 500 internal");
        }
        OrderError::Database(_) => dependencies::POSTGRES.record_failure(&error),
        OrderError::Inventory(_) | OrderError::OutcomeUnknown => dependencies::INVENTORY.record_failure(&error),
        OrderError::LockQuorum(_) => dependencies::LOCKS.record_failure(&error),
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
        | OrderError::Overloaded => tracing::debug!(error = cause, "order refused"),
    }
    error.into()
}

impl From<OrderError> for Problem {
    fn from(error: OrderError) -> Self {
        let (code, detail) = (error.code().as_str(), error.to_string());
        let new = |status, title| Self::new(status, code, title, detail.clone());
        match error {
            OrderError::Invalid(errors) => {
                let errors = errors.into_iter();
                let errors = errors.map(|error| FieldError { pointer: error.pointer, detail: error.detail });
                Self::validation_failed(errors.collect::<Vec<_>>())
            }
            OrderError::UnknownStrategy(_) => new(StatusCode::UNPROCESSABLE_ENTITY, "Unknown strategy"),
            OrderError::StrategyNotConfigured(_) => new(StatusCode::UNPROCESSABLE_ENTITY, "Strategy not configured"),
            OrderError::StrategyNotAllowed(_) => new(StatusCode::FORBIDDEN, "Strategy not allowed"),
            OrderError::KeyMissing => new(StatusCode::BAD_REQUEST, "Idempotency-Key missing"),
            OrderError::KeyReused => new(StatusCode::UNPROCESSABLE_ENTITY, "Idempotency-Key used for another request"),
            OrderError::InProgress { at_most } => {
                new(StatusCode::CONFLICT, "Request still in progress").retry_after(at_most.min(SOON))
            }
            OrderError::UnknownSku(Some(sku)) => new(StatusCode::NOT_FOUND, "Not found").with("sku", sku),
            OrderError::NoSuchOrder | OrderError::UnknownSku(None) => new(StatusCode::NOT_FOUND, "Not found"),
            OrderError::InvalidState(status) => {
                new(StatusCode::CONFLICT, "Not possible in this state").with("order_status", status)
            }
            OrderError::ReservationExpired => new(StatusCode::CONFLICT, "Reservation expired"),
            OrderError::OutOfStock { sku, available } => {
                new(StatusCode::CONFLICT, "Out of stock").with("sku", sku).with("available", available)
            }
            OrderError::StaleToken { token, current, .. } => new(StatusCode::CONFLICT, "Stale fencing token")
                .with("token", token)
                .with("current", current.get())
                .retryable(),
            OrderError::TokenSourceMismatch => new(StatusCode::CONFLICT, "Fencing token from another source"),
            OrderError::Conflict => new(StatusCode::CONFLICT, "Order has another reservation"),
            OrderError::LockTimeout { .. } | OrderError::Overtaken | OrderError::LeaseLapsed => {
                new(StatusCode::SERVICE_UNAVAILABLE, "Lock not acquired in time").retry_after(SOON)
            }
            OrderError::LockQuorum(_) => {
                new(StatusCode::SERVICE_UNAVAILABLE, "Lock quorum unavailable").retry_after(SOON)
            }
            OrderError::Database(_) => Self::dependency_unavailable("postgres"),
            OrderError::Inventory(_) => Self::dependency_unavailable("inventory"),
            OrderError::OutcomeUnknown => {
                new(StatusCode::SERVICE_UNAVAILABLE, "Outcome not known yet").retry_after(SOON)
            }
            OrderError::Overloaded => Self::overloaded(),
            OrderError::Unforeseen(_) | OrderError::Lock(_) | OrderError::Defect(_) => Self::internal(),
        }
    }
}

impl IntoResponse for OrderError {
    fn into_response(self) -> Response {
        report(self).into_response()
    }
}
