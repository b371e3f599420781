//! Stock, and the reservations made of it: the SKU as a request body spells it, what a request asks to be set aside,
//! checked against its strategy, and the rows as they are read and returned. No I/O.
//!
//! Invariant: the lines of a [`ReserveRequest`] are sorted by SKU, one each, and carry what the strategy's write
//! checks and nothing else.

use std::collections::{BTreeMap, btree_map::Entry};

use contract::{InvalidSku, Proof, ReservationStatus, Sku, Strategy};
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use utoipa::ToSchema;
use uuid::Uuid;

use crate::domain::error::StockError;

/// The highest fencing token: every JSON reader represents it exactly.
pub const MAX_TOKEN: i64 = (1 << 53) - 1;
/// The most units of one SKU in one order.
pub const MAX_QUANTITY: i64 = 1_000_000;

/// The `sku` of a request body. Parsed when the body is decoded; text that is no SKU is reported by validation,
/// together with every other wrong field of the body, rather than at once and alone.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(from = "String")]
pub struct SkuField(Result<Sku, InvalidSku>);

impl SkuField {
    /// The SKU.
    ///
    /// # Errors
    /// `InvalidField`, with `pointer`. Validation of the body has ruled that out.
    pub fn parsed(&self, pointer: impl FnOnce() -> String) -> Result<Sku, StockError> {
        self.0.clone().map_err(|error| StockError::invalid_field(pointer(), error.to_string()))
    }
}

impl From<String> for SkuField {
    fn from(text: String) -> Self {
        Self(text.try_into())
    }
}

impl From<Sku> for SkuField {
    fn from(sku: Sku) -> Self {
        Self(Ok(sku))
    }
}

impl Serialize for SkuField {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match &self.0 {
            Ok(sku) => sku.serialize(serializer),
            Err(error) => Err(serde::ser::Error::custom(error)),
        }
    }
}

impl garde::Validate for SkuField {
    type Context = ();

    fn validate_into(&self, (): &(), path: &mut dyn FnMut() -> garde::Path, report: &mut garde::Report) {
        if let Err(error) = self.0 {
            report.append(path(), garde::Error::new(error));
        }
    }
}

/// The stock of one SKU, as it was when it was read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema, sqlx::FromRow)]
#[schema(as = StockView)]
pub struct StockSnapshot {
    /// 1 to 64 letters, digits, `_` or `-`.
    #[sqlx(try_from = "String")]
    #[schema(value_type = String)]
    pub sku: Sku,
    /// Units in the warehouse, those of held reservations included.
    pub on_hand: i64,
    /// Units that can be reserved.
    pub available: i64,
    /// The highest fencing token that was claimed or written; 0 before the first.
    pub fence: i64,
    /// Incremented by every change of units; `optimistic` compares it.
    pub version: i64,
}

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

#[cfg(test)]
mod tests {
    use garde::Validate as _;

    use super::*;

    #[test]
    fn text_that_is_no_sku_is_decoded_and_refused_by_validation() {
        let field: SkuField = serde_json::from_str("\"no spaces\"").expect("any text is decoded");
        assert!(field.validate().is_err());
        assert!(field.parsed(|| "/sku".to_owned()).is_err());
        assert!(serde_json::to_string(&field).is_err());
        let field: SkuField = serde_json::from_str("\"a-1\"").expect("any text is decoded");
        assert!(field.validate().is_ok());
        assert_eq!(field.parsed(|| "/sku".to_owned()).expect("a SKU").as_str(), "a-1");
    }
}
