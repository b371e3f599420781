//! One attempt to place an order: what was sent, and what was answered.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::outcome::Outcome;

/// What was sent.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Invocation {
    /// The `Idempotency-Key`, unique per order.
    pub key: String,
    /// The SKU ordered.
    pub sku: String,
    /// The units ordered.
    pub quantity: i64,
    /// The base URL of the first replica that was asked.
    pub to: String,
}

/// What was answered.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Answer {
    /// The HTTP status; absent if there was no answer.
    pub status: Option<u16>,
    /// The problem's code; absent on success.
    pub code: Option<String>,
    /// The id of the order, of a 201.
    pub order_id: Option<Uuid>,
    /// How long the order waited for its lock, in milliseconds, from `Server-Timing`; absent if the header has no
    /// lock.
    pub lock_ms: Option<f64>,
}

/// One attempt.
#[derive(Debug, Clone)]
pub struct Operation {
    /// What was sent.
    pub invocation: Invocation,
    /// When it was sent, since the row began.
    pub invoked: Duration,
    /// When the last answer was read, since the row began, and the answer; absent while the customer waits.
    pub answered: Option<(Duration, Answer)>,
}

impl Answer {
    /// No answer.
    pub fn silence() -> Self {
        Self { status: None, code: None, order_id: None, lock_ms: None }
    }

    /// What it means.
    pub fn outcome(&self) -> Outcome {
        match self.status {
            Some(status) => Outcome::of(status, self.code.as_deref()),
            None => Outcome::Silence,
        }
    }
}
