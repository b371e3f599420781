//! The snapshot as they were read: plain data, so that a test can forge them.

use std::collections::HashMap;

use time::OffsetDateTime;
use uuid::Uuid;

/// Both databases, as far as they were in scope.
#[derive(Debug, Clone, Default)]
pub struct DbSnapshot {
    /// Stock as it stands.
    pub stock: Vec<StockRow>,
    /// In the order of `seq`.
    pub ledger: Vec<LedgerRow>,
    /// Every reservation with a line in scope.
    pub reservations: Vec<Reservation>,
    /// Every order with a line in scope.
    pub orders: Vec<Order>,
    /// Stale tokens that were refused.
    pub refusals: Vec<Refusal>,
}

/// A row of `stock`.
#[derive(Debug, Clone, sqlx::FromRow)]
pub struct StockRow {
    /// Which.
    pub sku: String,
    /// Units, held ones included.
    pub on_hand: i64,
    /// Units that nobody holds, as the row says.
    pub available: i64,
}

/// A row of `stock_ledger`.
#[derive(Debug, Clone, sqlx::FromRow)]
pub struct LedgerRow {
    /// Follows the row lock.
    pub seq: i64,
    /// Which.
    pub sku: String,
    /// Units that came (+) or went (−).
    pub delta: i64,
    /// What the writer had read.
    pub before: i64,
    /// What it wrote.
    pub after: i64,
    /// The token it wrote with; absent for unsafe strategies.
    pub fence: Option<i64>,
    /// `put`, `reserve`, `cancel` or `expire`.
    pub kind: String,
    /// For which reservation.
    pub reservation_id: Option<Uuid>,
    /// The transaction that wrote the row, as Postgres numbers them.
    pub transaction: String,
    /// When, by the clock of the database.
    pub at: OffsetDateTime,
}

/// A row of `reservations` with its lines.
#[derive(Debug, Clone)]
pub struct Reservation {
    /// Its id.
    pub id: Uuid,
    /// For which order.
    pub order_id: Uuid,
    /// `held`, `confirmed`, `cancelled` or `expired`.
    pub status: String,
    /// What it sets aside.
    pub lines: Vec<ReservationLine>,
}

/// A row of `reservation_lines`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReservationLine {
    /// Which.
    pub sku: String,
    /// Units.
    pub quantity: i64,
}

/// A row of `orders` with its payment.
#[derive(Debug, Clone, sqlx::FromRow)]
pub struct Order {
    /// Its id.
    pub id: Uuid,
    /// `pending`, `held`, `confirmed`, `cancelled` or `failed`.
    pub status: String,
    /// What the customer called it.
    pub idempotency_key: String,
    /// `authorised`, `captured` or `voided`; absent if the payment was never asked for.
    pub payment: Option<String>,
}

/// A row of `fence_refusals`.
#[derive(Debug, Clone, sqlx::FromRow)]
pub struct Refusal {
    /// Which.
    pub sku: String,
    /// What was brought.
    pub token: i64,
    /// What the storage had.
    pub current: i64,
    /// `claim` or `write`.
    pub step: String,
    /// Whose write; absent for claims.
    pub order_id: Option<Uuid>,
    /// When, by the clock of the database.
    pub at: OffsetDateTime,
}

impl Reservation {
    /// Held or confirmed, whether or not its time is over: an expiry counts once it was swept.
    pub fn is_live(&self) -> bool {
        matches!(self.status.as_str(), "held" | "confirmed")
    }
}

impl Order {
    /// The customer was promised something.
    pub fn stands(&self) -> bool {
        matches!(self.status.as_str(), "held" | "confirmed")
    }
}

impl DbSnapshot {
    /// Σ live units per SKU, from the reservations.
    pub fn live_units(&self) -> HashMap<&str, i64> {
        let mut live = HashMap::new();
        for line in self.reservations.iter().filter(|r| r.is_live()).flat_map(|r| &r.lines) {
            *live.entry(line.sku.as_str()).or_default() += line.quantity;
        }
        live
    }

    /// The ledger of each SKU, in order.
    pub fn ledger_by_sku(&self) -> HashMap<&str, Vec<&LedgerRow>> {
        let mut by_sku: HashMap<&str, Vec<&LedgerRow>> = HashMap::new();
        for row in &self.ledger {
            by_sku.entry(&row.sku).or_default().push(row);
        }
        by_sku
    }

    /// Stale tokens refused at this step.
    pub fn refused_at(&self, step: &str) -> impl Iterator<Item = &Refusal> {
        self.refusals.iter().filter(move |refusal| refusal.step == step)
    }
}
