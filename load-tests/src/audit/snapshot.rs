//! The rows of both databases as plain data, so that a test can corrupt them.

use std::collections::HashMap;

use contract::ReservationStatus;
use serde::Serialize;
use strum::Display;
use time::OffsetDateTime;
use uuid::Uuid;

/// The rows of both databases, as far as they were in scope.
#[derive(Debug, Clone, Default)]
pub struct DbSnapshot {
    /// One row per SKU.
    pub stock: Vec<StockRow>,
    /// In the order of `seq`.
    pub ledger: Vec<LedgerRow>,
    /// Every reservation with a line in scope.
    pub reservations: Vec<Reservation>,
    /// Every order with a line in scope.
    pub orders: Vec<Order>,
    /// Stale tokens that were refused.
    pub refusals: Vec<Refusal>,
    /// What deleted rows of these SKUs add up to.
    pub carried_forward: Vec<CarriedForward>,
    /// What may have been deleted because it was over and old.
    pub retention: Retention,
}

/// A row of `stock_carried_forward`: the deleted rows of a SKU, summed.
#[derive(Debug, Clone, Default, PartialEq, Eq, sqlx::FromRow)]
pub struct CarriedForward {
    /// The SKU.
    pub sku: String,
    /// The last row of the ledger that was deleted, 0 if none was.
    pub last_seq: i64,
    /// `available` as that row left it.
    pub available: i64,
    /// The highest fencing token of the deleted rows.
    pub fence: Option<i64>,
    /// Units that the deleted `put` rows added.
    pub put_units: i64,
    /// Units that the other deleted rows took.
    pub taken_units: i64,
    /// The most by which units taken exceeded units in stock, after any of the deleted rows.
    pub oversold: i64,
    /// Units of confirmed reservations that were deleted.
    pub sold_units: i64,
}

/// Up to which age rows may have been deleted; `None` where none were.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Retention {
    /// Orders that are older may be gone.
    pub orders_before: Option<OffsetDateTime>,
    /// Reservations of orders that are older may be gone.
    pub reservations_before: Option<OffsetDateTime>,
}

impl Retention {
    /// Whether the row of this order may have been deleted.
    pub fn may_lack_order(&self, order: Uuid) -> bool {
        is_older(order, self.orders_before)
    }

    /// Whether the reservation of this order may have been deleted.
    pub fn may_lack_reservation(&self, order: Uuid) -> bool {
        is_older(order, self.reservations_before)
    }
}

/// By the time in the id.
fn is_older(order: Uuid, than: Option<OffsetDateTime>) -> bool {
    let made = order.get_timestamp().map(|made| i128::from(made.to_unix().0));
    than.zip(made).is_some_and(|(than, made)| made < i128::from(than.unix_timestamp()))
}

/// A row of `stock`.
#[derive(Debug, Clone, sqlx::FromRow)]
pub struct StockRow {
    /// The SKU.
    pub sku: String,
    /// Units in stock, held and sold ones included.
    pub on_hand: i64,
    /// Units that are neither held nor sold, according to the row.
    pub available: i64,
}

/// A row of `stock_ledger`.
#[derive(Debug, Clone, sqlx::FromRow)]
pub struct LedgerRow {
    /// Issued under the row lock, so it follows the order of writes to a SKU.
    pub seq: i64,
    /// The SKU.
    pub sku: String,
    /// Units added (+) or taken (−).
    pub delta: i64,
    /// `available` as the writer read it.
    pub before: i64,
    /// `available` as it was written.
    pub after: i64,
    /// The fencing token of the write; absent for strategies that send none.
    pub fence: Option<i64>,
    /// What the write was for.
    pub kind: LedgerKind,
    /// The reservation that the write belongs to; absent for `put`.
    pub reservation_id: Option<Uuid>,
    /// The transaction that wrote the row, as Postgres numbers them.
    pub transaction: String,
    /// When, by the clock of the database.
    pub at: OffsetDateTime,
}

/// What a write to stock was for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, sqlx::Type)]
#[sqlx(type_name = "text", rename_all = "lowercase")]
pub enum LedgerKind {
    /// Stock was set.
    Put,
    /// Units were reserved.
    Reserve,
    /// A reservation was cancelled.
    Cancel,
    /// A reservation expired.
    Expire,
}

/// A row of `reservations` with its lines.
#[derive(Debug, Clone)]
pub struct Reservation {
    /// Its id.
    pub id: Uuid,
    /// The order that it belongs to.
    pub order_id: Uuid,
    /// Its state as stored: an expired hold counts as held until the sweeper has expired it.
    pub status: ReservationStatus,
    /// One line per SKU.
    pub lines: Vec<ReservationLine>,
}

/// A row of `reservation_lines`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReservationLine {
    /// The SKU.
    pub sku: String,
    /// Units.
    pub quantity: i64,
}

/// A row of `orders` with its payment.
#[derive(Debug, Clone, sqlx::FromRow)]
pub struct Order {
    /// Its id.
    pub id: Uuid,
    /// Its state as stored.
    pub status: OrderStatus,
    /// The key that the customer sent.
    pub idempotency_key: String,
    /// The state of its payment; absent if no payment was authorised.
    pub payment: Option<PaymentState>,
}

/// The state of an order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Display, sqlx::Type)]
#[sqlx(type_name = "text", rename_all = "lowercase")]
#[strum(serialize_all = "lowercase")]
pub enum OrderStatus {
    /// Its outcome is not known yet.
    Pending,
    /// Its units are reserved.
    Held,
    /// Its units are sold.
    Confirmed,
    /// Its units were returned.
    Cancelled,
    /// It was refused.
    Failed,
}

/// The state of a payment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Display, sqlx::Type)]
#[sqlx(type_name = "text", rename_all = "lowercase")]
#[strum(serialize_all = "lowercase")]
pub enum PaymentState {
    /// Authorised, and neither captured nor voided: never a final state.
    Authorised,
    /// The customer was charged.
    Captured,
    /// The authorisation was released.
    Voided,
}

/// A row of `fence_refusals`.
#[derive(Debug, Clone, sqlx::FromRow)]
pub struct Refusal {
    /// The SKU.
    pub sku: String,
    /// The token that was sent.
    pub token: i64,
    /// The token that the storage had registered.
    pub current: i64,
    /// The statement that refused it.
    pub step: RefusalStep,
    /// The order that was refused; absent for claims.
    pub order_id: Option<Uuid>,
    /// When, by the clock of the database.
    pub at: OffsetDateTime,
}

/// The statement of the protocol that refused a stale token.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, sqlx::Type)]
#[serde(rename_all = "lowercase")]
#[sqlx(type_name = "text", rename_all = "lowercase")]
pub enum RefusalStep {
    /// The claim, before stock is read.
    Claim,
    /// The write.
    Write,
}

/// A write that was computed from a value of `available` that another write had changed since.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LostUpdate {
    /// The SKU.
    pub sku: String,
    /// The ledger row of the write.
    pub seq: i64,
    /// `available` as the writer had read it.
    pub read: i64,
    /// `available` as the previous write had left it.
    pub actual: i64,
}

impl Order {
    /// The customer was promised units: held or confirmed.
    pub fn is_live(&self) -> bool {
        match self.status {
            OrderStatus::Held | OrderStatus::Confirmed => true,
            OrderStatus::Pending | OrderStatus::Cancelled | OrderStatus::Failed => false,
        }
    }
}

impl DbSnapshot {
    /// Σ live units per SKU, from the reservations and from those that were deleted after they had been confirmed.
    pub fn live_units(&self) -> HashMap<&str, i64> {
        let deleted = self.carried_forward.iter();
        let mut live: HashMap<_, _> = deleted.map(|deleted| (deleted.sku.as_str(), deleted.sold_units)).collect();
        for line in self.reservations.iter().filter(|r| r.status.is_live()).flat_map(|r| &r.lines) {
            *live.entry(line.sku.as_str()).or_default() += line.quantity;
        }
        live
    }

    /// What the deleted rows of this SKU add up to; nothing if there are none.
    pub fn carried(&self, sku: &str) -> CarriedForward {
        self.carried_forward.iter().find(|carried| carried.sku == sku).cloned().unwrap_or_default()
    }

    /// The ledger rows of each SKU, in the order of `seq`.
    pub fn ledger_by_sku(&self) -> HashMap<&str, Vec<&LedgerRow>> {
        let mut by_sku: HashMap<&str, Vec<&LedgerRow>> = HashMap::new();
        for row in &self.ledger {
            by_sku.entry(&row.sku).or_default().push(row);
        }
        by_sku
    }

    /// Every ledger row whose *before* differs from the *after* of the row before it.
    pub fn lost_updates(&self) -> Vec<LostUpdate> {
        let mut lost = Vec::new();
        for (sku, rows) in self.ledger_by_sku() {
            let mut actual = self.carried(sku).available;
            for row in rows {
                if row.before != actual {
                    lost.push(LostUpdate { sku: sku.to_owned(), seq: row.seq, read: row.before, actual });
                }
                actual = row.after;
            }
        }
        lost
    }

    /// Stale tokens that this step refused.
    pub fn refused_at(&self, step: RefusalStep) -> impl Iterator<Item = &Refusal> {
        self.refusals.iter().filter(move |refusal| refusal.step == step)
    }
}
