//! What goes over the wire to inventory and comes back: this service's half of
//! the contract, decoding only what it reads. Sends nothing.

use reqwest::StatusCode;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use uuid::Uuid;

use crate::domain::allocation::StockSnapshot;
use crate::domain::order::{OrderLine, Reservation, Sku};

/// What inventory says when it refuses.
#[derive(Debug, Clone, Default)]
pub struct Refusal {
    /// HTTP status.
    pub status: u16,
    /// The problem's code.
    pub code: String,
    /// Which SKU, where there is one.
    pub sku: Option<Sku>,
    /// Units left, for `out_of_stock`.
    pub available: Option<i64>,
    /// The token that was refused.
    pub token: Option<u64>,
    /// The token that the storage has.
    pub current: Option<u64>,
}

impl Refusal {
    /// Members mean different things under different codes, so none of them
    /// being odd makes the others unreadable.
    pub(super) fn read(status: StatusCode, problem: &Value) -> Self {
        let sku = problem["sku"].as_str();
        Self {
            status: status.as_u16(),
            code: problem["code"].as_str().unwrap_or_default().to_owned(),
            sku: sku.and_then(|sku| Sku::parse(sku).ok()),
            available: problem["available"].as_i64(),
            token: problem["token"].as_u64(),
            current: problem["current"].as_u64(),
        }
    }
}

/// A token to register.
#[derive(Debug, Clone, Serialize)]
pub struct ClaimLine {
    /// For which SKU.
    pub sku: Sku,
    /// What the lock issued.
    pub fencing_token: u64,
}

/// A line of a write.
#[derive(Debug, Clone, Serialize)]
pub struct ReserveLine {
    /// What.
    pub sku: Sku,
    /// How many.
    pub quantity: i64,
    /// For strategies with tokens.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fencing_token: Option<u64>,
    /// What the decision was made on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub observed_available: Option<i64>,
    /// Likewise.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub observed_version: Option<i64>,
}

/// A write.
#[derive(Debug, Clone, Serialize)]
pub struct Reserve {
    /// Inventory admits one reservation for each.
    pub order_id: Uuid,
    /// Sorted by SKU.
    pub lines: Vec<ReserveLine>,
    /// How long the hold lasts.
    pub hold_seconds: u64,
}

/// One write for several orders that share their tokens and what was read.
#[derive(Debug, Clone, Serialize)]
pub struct ReserveBatch {
    /// What all of them were decided on, a SKU each.
    pub stock: Vec<BatchStock>,
    /// In the order in which they are served.
    pub orders: Vec<BatchOrder>,
    /// How long the holds last.
    pub hold_seconds: u64,
}

/// What a batch was decided on.
#[derive(Debug, Clone, Serialize)]
pub struct BatchStock {
    /// Which.
    pub sku: Sku,
    /// The token it was claimed with.
    pub fencing_token: u64,
    /// What the first order found; the next finds what it left.
    pub observed_available: i64,
}

/// One order of a batch.
#[derive(Debug, Clone, Serialize)]
pub struct BatchOrder {
    /// Inventory admits one reservation for each.
    pub order_id: Uuid,
    /// Sorted by SKU.
    pub lines: Vec<OrderLine>,
}

#[derive(Deserialize)]
pub(super) struct ClaimResponse {
    pub(super) snapshots: Vec<StockSnapshot>,
}

#[derive(Deserialize)]
pub(super) struct BatchResponse {
    pub(super) outcomes: Vec<BatchOutcome>,
}

/// How one order of a batch ended: a reservation, or a problem.
#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum BatchOutcome {
    Reservation(Reservation),
    Problem(Value),
}
