//! The rules of stock, with no I/O: what a SKU is, what a reservation asks for.
//! Invariant: a value of these types was checked. Absence: no SQL, no HTTP.

use std::{collections::BTreeMap, fmt, str::FromStr};

use uuid::Uuid;

use crate::{domain::error::StockError, strategy::Strategy};

/// The highest token: exact in every JSON reader.
pub const MAX_TOKEN: i64 = (1 << 53) - 1;
/// The most units one line may move.
pub const MAX_QUANTITY: i64 = 1_000_000;

/// 1 to 64 letters, digits, `_` or `-`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Sku(String);

impl FromStr for Sku {
    type Err = &'static str;

    fn from_str(sku: &str) -> Result<Self, Self::Err> {
        let sound = sku.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-');
        let fits = (1..=64).contains(&sku.len());
        if sound && fits { Ok(Self(sku.to_owned())) } else { Err("must be 1 to 64 letters, digits, _ or -") }
    }
}

impl fmt::Display for Sku {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl AsRef<str> for Sku {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

/// What an order asks for of one SKU.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LineRequest {
    /// Units.
    pub quantity: i64,
    /// The token it was claimed with, where the strategy has one.
    pub token: Option<i64>,
    /// The units that the decision was made on, where the write is computed from them.
    pub observed: Option<i64>,
    /// The version that it was made on, where that is what the write checks.
    pub version: Option<i64>,
}

/// Units to set aside for one order, by SKU: sorted, each once.
#[derive(Debug, Clone)]
pub struct ReserveRequest {
    /// For which order.
    pub order_id: Uuid,
    /// How it is guarded.
    pub strategy: Strategy,
    /// What, in SKU order.
    pub lines: BTreeMap<Sku, LineRequest>,
    /// How long.
    pub hold_seconds: i64,
}

impl ReserveRequest {
    /// Adds a line; a SKU that is there already gets the sum.
    ///
    /// # Errors
    /// Tokens or observations of one SKU differ, or the sum is too large.
    pub fn add(&mut self, at: usize, sku: Sku, line_request: LineRequest) -> Result<(), StockError> {
        let wrong = |field: &str, why: &str| Err(StockError::Invalid(format!("/lines/{at}/{field}"), why.to_owned()));
        let Some(line) = self.lines.get_mut(&sku) else {
            self.lines.insert(sku, line_request);
            return Ok(());
        };
        if line.token != line_request.token {
            return wrong("fencing_token", "differs from an earlier line of the same SKU");
        }
        if line.observed != line_request.observed {
            return wrong("observed_available", "differs from an earlier line of the same SKU");
        }
        if line.version != line_request.version {
            return wrong("observed_version", "differs from an earlier line of the same SKU");
        }
        line.quantity += line_request.quantity;
        if line.quantity > MAX_QUANTITY {
            return wrong("quantity", "the lines of this SKU add up to more than 1000000");
        }
        Ok(())
    }

    /// What was asked for, in canonical form; tokens are left out, since a retry brings new ones.
    pub fn fingerprint(&self) -> String {
        let lines: Vec<_> = self.lines.iter().map(|(sku, line)| format!("{sku}×{}", line.quantity)).collect();
        lines.join(" ")
    }
}
