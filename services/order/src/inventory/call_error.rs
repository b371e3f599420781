//! Why a call to inventory failed. The error shows whether it was never sent, refused, or left unanswered: everything that
//! an order does about the failure depends on that.
//!
//! Absence: nothing is called here.

use contract::{ProblemCode, Sku};
use failure_kind::FailureKind;
use reqwest::StatusCode;
use serde_json::Value;

use crate::domain::order::FieldError;

/// Why a call has no result.
#[derive(Debug, thiserror::Error)]
pub enum CallError {
    /// No replica took the connection: certainly nothing was done.
    #[error("no replica of inventory is reachable")]
    NotSent(#[source] reqwest::Error),
    /// The call may have been received, and no answer came in time.
    #[error("inventory did not answer in time")]
    NoAnswer(#[source] Option<reqwest::Error>),
    /// A 5xx, or a response that is not inventory's.
    #[error("inventory failed with {status}")]
    Failed {
        /// The status of the response.
        status: StatusCode,
    },
    /// A 4xx: certainly nothing was done.
    #[error("inventory refused the call: {} {}", .0.status.as_u16(), .0.code.map_or("without a known code", ProblemCode::as_str))]
    Refused(Refusal),
    /// The task that made the call panicked, which the log reports; the call
    /// may have been received.
    #[error("the task that called inventory panicked")]
    TaskPanicked,
}

impl CallError {
    /// How inventory failed.
    pub fn kind(&self) -> FailureKind {
        match self {
            Self::NotSent(_) => FailureKind::Unreachable,
            Self::NoAnswer(Some(error)) if !error.is_timeout() => FailureKind::Gone,
            Self::NoAnswer(_) | Self::TaskPanicked => FailureKind::Silent,
            // It is there and says that it cannot: a dependency of its own is down, or it is overloaded.
            Self::Failed { status } if *status == StatusCode::SERVICE_UNAVAILABLE => FailureKind::Refused,
            // It gave the call up because it took too long.
            Self::Failed { status } if *status == StatusCode::GATEWAY_TIMEOUT => FailureKind::Silent,
            Self::Failed { .. } | Self::Refused(_) => FailureKind::WrongAnswer,
        }
    }
}

/// A 4xx of inventory: the members of its problem that an order acts on.
#[derive(Debug, Clone)]
pub struct Refusal {
    /// The status of the response.
    pub status: StatusCode,
    /// The reason; `None` if the code is missing or unknown.
    pub code: Option<ProblemCode>,
    /// The SKU that it is about, if one.
    pub sku: Option<Sku>,
    /// Units left, with `out_of_stock`.
    pub available: Option<i64>,
    /// The token that was refused, with `stale_fencing_token`.
    pub token: Option<u64>,
    /// The token that the storage has registered, with `stale_fencing_token`.
    pub current: Option<u64>,
    /// What is not acceptable, with `validation_failed`.
    pub errors: Vec<FieldError>,
}

impl Refusal {
    /// A member of an unexpected type is absent; the others are read all the same.
    pub(super) fn decode(status: StatusCode, problem: &Value) -> Self {
        Self {
            status,
            code: problem["code"].as_str().and_then(|code| code.parse().ok()),
            sku: problem["sku"].as_str().and_then(|sku| sku.parse().ok()),
            available: problem["available"].as_i64(),
            token: problem["token"].as_u64(),
            current: problem["current"].as_u64(),
            errors: serde_json::from_value(problem["errors"].clone()).unwrap_or_default(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_that_is_no_refusal_has_one_kind() {
        for (status, kind) in [
            (StatusCode::SERVICE_UNAVAILABLE, FailureKind::Refused),
            (StatusCode::GATEWAY_TIMEOUT, FailureKind::Silent),
            (StatusCode::INTERNAL_SERVER_ERROR, FailureKind::WrongAnswer),
            (StatusCode::OK, FailureKind::WrongAnswer),
        ] {
            assert_eq!(CallError::Failed { status }.kind(), kind, "{status}");
        }
        assert_eq!(CallError::NoAnswer(None).kind(), FailureKind::Silent);
    }
}
