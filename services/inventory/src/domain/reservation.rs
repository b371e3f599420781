//! Reservations: what a request asks to be set aside, checked against its strategy, and the reservation as it is
//! stored and returned. Invariant: the lines of a [`ReserveRequest`] are sorted by SKU, one each, and carry what
//! the strategy's write checks and nothing else.

use std::collections::{BTreeMap, btree_map::Entry};

use contract::{Proof, ReservationStatus, Sku, Strategy};
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use utoipa::ToSchema;
use uuid::Uuid;

use crate::domain::{
    error::StockError,
    stock::{MAX_QUANTITY, MAX_TOKEN, SkuField},
};

// Also a line of the parameter of the SQL functions `reserve` and `reserve_batch` (row type `reserve_line`).
/// Units of one SKU to set aside.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize, ToSchema, garde::Validate)]
#[serde(deny_unknown_fields)]
pub struct ReserveLine {
    /// 1 to 64 letters, digits, `_` or `-`.
    #[garde(dive)]
    #[schema(value_type = String, pattern = "^[A-Za-z0-9_-]{1,64}$")]
    pub sku: SkuField,
    /// Units.
    #[garde(range(min = 1, max = MAX_QUANTITY))]
    #[schema(minimum = 1, maximum = 1_000_000)]
    pub quantity: i64,
    /// The token of the lock; required by strategies with tokens, refused by the others.
    #[garde(inner(range(min = 1, max = MAX_TOKEN)))]
    #[schema(minimum = 1, maximum = 9_007_199_254_740_991_i64)]
    pub fencing_token: Option<i64>,
    /// `available` when it was read; required by strategies that write a computed value.
    #[garde(inner(range(min = 0)))]
    #[schema(minimum = 0)]
    pub observed_available: Option<i64>,
    /// `version` when it was read; required by `optimistic`, whose write is refused if the version has changed.
    #[garde(inner(range(min = 0)))]
    #[schema(minimum = 0)]
    pub observed_version: Option<i64>,
}

/// Units to set aside for one order.
#[derive(Debug, Clone)]
pub struct ReserveRequest {
    /// The order; it has at most one reservation.
    pub order_id: Uuid,
    /// How the order guards stock.
    pub strategy: Strategy,
    /// Never empty.
    pub lines: BTreeMap<Sku, ReserveLine>,
    /// How long the units are held, in seconds.
    pub hold_seconds: i64,
}

impl ReserveRequest {
    /// Checks that every line carries what `strategy` compares, and sums the lines of each SKU.
    ///
    /// # Errors
    /// `InvalidField`: a value is missing, is not used by the strategy, or differs between lines of one SKU.
    pub fn new(
        order_id: Uuid,
        strategy: Strategy,
        lines: Vec<ReserveLine>,
        hold_seconds: i64,
    ) -> Result<Self, StockError> {
        let mut summed = BTreeMap::new();
        for (index, mut line) in lines.into_iter().enumerate() {
            line.keep_what_is_checked(strategy, index)?;
            match summed.entry(line.sku.parsed(|| format!("/lines/{index}/sku"))?) {
                Entry::Vacant(vacant) => {
                    vacant.insert(line);
                }
                Entry::Occupied(mut earlier) => earlier.get_mut().add(&line, index)?,
            }
        }
        Ok(Self { order_id, strategy, lines: summed, hold_seconds })
    }

    /// Distinguishes a repeated request from another one with the same order id.
    pub fn fingerprint(&self) -> String {
        fingerprint(self.lines.iter().map(|(sku, line)| (sku, line.quantity)))
    }
}

impl ReserveLine {
    /// Clears the observations that `strategy` does not compare, so that they cannot set two lines of one SKU apart.
    fn keep_what_is_checked(&mut self, strategy: Strategy, index: usize) -> Result<(), StockError> {
        let invalid = |field: &str, problem: &str| Err(invalid_line(index, field, problem));
        match (strategy.proof(), self.fencing_token) {
            (Proof::Token, None) => return invalid("fencing_token", "this strategy requires a fencing token"),
            (Proof::Nothing | Proof::Version, Some(_)) => {
                return invalid("fencing_token", "this strategy has no fencing tokens");
            }
            (Proof::Token, Some(_)) | (Proof::Nothing | Proof::Version, None) => {}
        }
        if !strategy.check().writes_computed_value() {
            self.observed_available = None;
        } else if self.observed_available.is_none() {
            return invalid("observed_available", "this strategy writes a value computed from it");
        }
        if strategy.proof() != Proof::Version {
            self.observed_version = None;
        } else if self.observed_version.is_none() {
            return invalid("observed_version", "this strategy compares versions");
        }
        Ok(())
    }

    /// Adds the quantity of a later line of the same SKU.
    fn add(&mut self, later: &Self, index: usize) -> Result<(), StockError> {
        let differs = |field| Err(invalid_line(index, field, "differs from an earlier line of the same SKU"));
        if self.fencing_token != later.fencing_token {
            return differs("fencing_token");
        }
        if self.observed_available != later.observed_available {
            return differs("observed_available");
        }
        if self.observed_version != later.observed_version {
            return differs("observed_version");
        }
        self.quantity += later.quantity;
        if self.quantity > MAX_QUANTITY {
            let problem = format!("the lines of this SKU add up to more than {MAX_QUANTITY}");
            return Err(invalid_line(index, "quantity", &problem));
        }
        Ok(())
    }
}

fn invalid_line(index: usize, field: &str, problem: &str) -> StockError {
    StockError::invalid_field(format!("/lines/{index}/{field}"), problem)
}

/// SKUs and quantities in canonical form: `a×2 b×1`. Tokens are left out, since a retry carries newer ones.
pub(crate) fn fingerprint<'a>(lines: impl Iterator<Item = (&'a Sku, i64)>) -> String {
    lines.map(|(sku, quantity)| format!("{sku}×{quantity}")).collect::<Vec<_>>().join(" ")
}

/// The reservation of an order.
#[derive(Debug, Clone, Serialize, ToSchema, sqlx::FromRow)]
#[schema(as = ReservationView)]
pub struct Reservation {
    /// The id of the reservation.
    #[sqlx(rename = "id")]
    pub reservation_id: Uuid,
    /// The order that the units are set aside for.
    pub order_id: Uuid,
    /// `held`, until one of the others, which are final.
    #[sqlx(json)]
    pub status: ReservationStatus,
    /// When the hold ends.
    #[serde(with = "time::serde::rfc3339")]
    #[schema(value_type = String, format = DateTime)]
    pub expires_at: OffsetDateTime,
    /// In SKU order, one line for each SKU.
    #[sqlx(json)]
    pub lines: Vec<ReservationLine>,
    /// [`ReserveRequest::fingerprint`] of the request that made it.
    #[serde(skip)]
    pub fingerprint: String,
}

/// Units of one SKU in a reservation.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct ReservationLine {
    /// 1 to 64 letters, digits, `_` or `-`.
    #[schema(value_type = String)]
    pub sku: Sku,
    /// Units.
    pub quantity: i64,
    /// The fencing token that the write carried; absent for strategies without tokens.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fencing_token: Option<i64>,
}
