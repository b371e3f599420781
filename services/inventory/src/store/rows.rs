//! The shapes that queries return. Nothing here is computed.

use serde::{Deserialize, Serialize};
use sqlx::{FromRow, types::Json};
use time::OffsetDateTime;
use uuid::Uuid;

/// A SKU as it stood when it was read.
#[derive(Debug, Clone, PartialEq, Eq, FromRow)]
pub struct Snapshot {
    /// Which.
    pub sku: String,
    /// Units there are, held ones included.
    pub on_hand: i64,
    /// Units that can be set aside.
    pub available: i64,
    /// The highest token that was registered.
    pub fence: i64,
    /// Grows with every change.
    pub version: i64,
}

/// Units set aside for one order.
#[derive(Debug, Clone, FromRow)]
pub struct StoredReservation {
    /// Its id.
    pub id: Uuid,
    /// For which order.
    pub order_id: Uuid,
    /// `held`, `confirmed`, `cancelled` or `expired`.
    pub status: String,
    /// What was asked for, in canonical form.
    pub fingerprint: String,
    /// When the hold ends.
    pub expires_at: OffsetDateTime,
    /// In SKU order.
    pub lines: Json<Vec<ReservationLine>>,
}

/// Units of one SKU.
#[derive(Debug, Clone, Serialize, Deserialize, utoipa::ToSchema)]
pub struct ReservationLine {
    /// Which.
    pub sku: String,
    /// How many.
    pub quantity: i64,
    /// The token it was written with.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fencing_token: Option<i64>,
}

/// A hold that has ended.
#[derive(Debug, Clone, FromRow)]
pub struct EndedHold {
    /// Its id.
    pub id: Uuid,
    /// What it holds.
    pub skus: Vec<String>,
}

pub(super) const DUE: &str = "select r.id, array(select l.sku from reservation_lines l
                                             where l.reservation_id = r.id order by l.sku) as skus
                                from reservations r where r.status = 'held' and r.expires_at <= now()
                               order by r.expires_at, r.id limit $1";

macro_rules! reservation_by {
    ($key:literal) => {
        concat!(
            "select r.id, r.order_id, r.status, r.fingerprint, r.expires_at, (
                select jsonb_agg(jsonb_build_object('sku', l.sku, 'quantity', l.quantity,
                                                    'fencing_token', l.fencing_token) order by l.sku)
                  from reservation_lines l where l.reservation_id = r.id) as lines
               from reservations r where r.",
            $key
        )
    };
}

pub(super) const RESERVATION_BY_ID: &str = reservation_by!("id = $1");
pub(super) const RESERVATION_BY_ORDER: &str = reservation_by!("order_id = $1");
pub(super) const RESERVATIONS_BY_ORDERS: &str = reservation_by!("order_id = any($1)");
