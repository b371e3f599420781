//! Stock of one SKU: the limits of its numbers, the SKU as a request body spells it, and the row as it is read
//! and returned.

use contract::{InvalidSku, Sku};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

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
