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
        OrderError::Database { .. }
        | OrderError::Inventory { .. }
        | OrderError::LockQuorum { .. } => dependencies::record_failure(&error),
        OrderError::Invalid(_)
        | OrderError::UnknownStrategy(_)
        | OrderError::StrategyNotAllowed(_)
        | OrderError::StrategyNotConfigured(_)
        | OrderError::KeyMissing
        | OrderError::HeaderRepeated(_)
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
        | OrderError::PaymentTimeout { .. }
        // What failed was recorded where it did.
        | OrderError::OutcomeUnknown
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
            OrderError::HeaderRepeated(header) => {
                new(StatusCode::BAD_REQUEST, "Header sent more than once").with("header", header)
            }
            OrderError::KeyReused => new(StatusCode::UNPROCESSABLE_ENTITY, "Idempotency-Key used for another request"),
            OrderError::InProgress { at_most } => {
                new(StatusCode::CONFLICT, "Request still in progress").retry_after(at_most)
            }
            OrderError::UnknownSku(Some(sku)) => new(StatusCode::NOT_FOUND, "Not found").with("sku", sku),
            OrderError::NoSuchOrder | OrderError::UnknownSku(None) => new(StatusCode::NOT_FOUND, "Not found"),
            OrderError::InvalidState(status) => {
                new(StatusCode::CONFLICT, "Order state does not allow this").with("order_status", status)
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
            OrderError::PaymentTimeout { .. } => {
                new(StatusCode::SERVICE_UNAVAILABLE, "Payment not authorised in time").retry_after(SOON)
            }
            OrderError::LockQuorum { .. } => {
                new(StatusCode::SERVICE_UNAVAILABLE, "Lock quorum unavailable").retry_after(SOON)
            }
            OrderError::Database { .. } => Self::dependency_unavailable("postgres"),
            OrderError::Inventory { .. } => Self::dependency_unavailable("inventory"),
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

#[cfg(test)]
mod tests {
    use std::{collections::HashSet, mem::discriminant, sync::Arc};

    use axum::body::to_bytes;
    use contract::{LockKind, Strategy};
    use failure_kind::FailureKind;
    use fenced_lock::{LockError, Token};
    use serde_json::Value;
    use strum::EnumCount as _;

    use super::*;
    use crate::domain::{error::Cause, order};

    /// One of every error.
    fn all() -> Vec<OrderError> {
        let cause = || -> Cause { Arc::new(std::io::Error::other("connection refused")) };
        let quorum = || LockError::QuorumUnavailable { needed: 3, answered: 1, of: 5, nodes: Vec::new() };
        let chair: contract::Sku = "chair".parse().expect("valid");
        let current = Token::new(8).expect("a token");
        vec![
            OrderError::Invalid(vec![order::FieldError::new("/lines/0/quantity", "must be 1 to 1000000")]),
            OrderError::UnknownStrategy("hope".to_owned()),
            OrderError::StrategyNotAllowed(Strategy::Redlock),
            OrderError::StrategyNotConfigured(Strategy::EtcdFenced),
            OrderError::KeyMissing,
            OrderError::HeaderRepeated("Lock-Strategy"),
            OrderError::KeyReused,
            OrderError::InProgress { at_most: Duration::from_millis(700) },
            OrderError::NoSuchOrder,
            OrderError::InvalidState(order::OrderStatus::Cancelled),
            OrderError::ReservationExpired,
            OrderError::OutOfStock { sku: chair.clone(), available: 1 },
            OrderError::UnknownSku(Some(chair.clone())),
            OrderError::UnknownSku(None),
            OrderError::StaleToken { sku: Some(chair), token: 7, current },
            OrderError::TokenSourceMismatch,
            OrderError::Conflict,
            OrderError::LockTimeout { waited: Duration::from_secs(10) },
            OrderError::Overtaken,
            OrderError::LeaseLapsed,
            OrderError::PaymentTimeout { limit: Duration::from_secs(30) },
            OrderError::LockQuorum { lock: LockKind::Redlock, error: quorum() },
            OrderError::Lock(quorum()),
            OrderError::Database { kind: FailureKind::Unreachable, cause: cause() },
            OrderError::Inventory { kind: FailureKind::Unreachable, cause: cause() },
            OrderError::Overloaded,
            OrderError::OutcomeUnknown,
            OrderError::Unforeseen(cause()),
            OrderError::Defect("a stored order has an unknown status"),
        ]
    }

    #[tokio::test]
    async fn every_error_is_a_problem_that_can_be_read_alone() {
        let errors = all();
        let kinds: HashSet<_> = errors.iter().map(discriminant).collect();
        assert_eq!(kinds.len(), OrderError::COUNT, "an error is missing");
        let mut problems = Vec::new();
        for error in errors {
            let name = format!("{error:?}");
            let name = name.split(|c: char| !c.is_alphanumeric()).next().unwrap_or_default();
            let response = error.into_response();
            let retry_after = response.headers().get("retry-after").map(|seconds| seconds.to_str().expect("text"));
            let heading = format!("{name}, Retry-After: {}", retry_after.unwrap_or("none"));
            let body = to_bytes(response.into_body(), 1 << 16).await.expect("a body");
            let mut body: Value = serde_json::from_slice(&body).expect("JSON");
            // The order of the keys depends on what else is built.
            body.sort_all_objects();
            problems.push(format!("{heading}\n{body:#}"));
        }
        insta::assert_snapshot!(problems.join("\n\n"));
    }
}
