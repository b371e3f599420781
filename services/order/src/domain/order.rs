//! What an order is. Pure: no I/O, no HTTP, no SQL.
//!
//! Invariant: the lines of an [`OrderRequest`] and of an [`Order`] are sorted by
//! SKU, and every SKU appears once.

use std::collections::BTreeMap;

use contract::{ReservationStatus, Sku, Strategy};
use serde::{Deserialize, Serialize};
use strum::{EnumString, IntoStaticStr};
use uuid::Uuid;

/// Units of one SKU: a line of an order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[schema(as = LineView)]
pub struct OrderLine {
    /// The SKU.
    #[schema(value_type = String)]
    pub sku: Sku,
    /// Units, at least 1.
    pub quantity: i64,
}

/// What a customer orders: checked, with the quantities of each SKU summed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OrderRequest {
    /// The customer's name, 1 to 128 characters.
    pub customer: String,
    /// Sorted by SKU, each once.
    pub lines: Vec<OrderLine>,
}

/// The largest order that is accepted.
#[derive(Debug, Clone, Copy)]
pub struct OrderLimits {
    /// Lines as sent, before the quantities of each SKU are summed.
    pub lines: usize,
    /// Units of one SKU, after they are summed.
    pub quantity: i64,
}

/// A field of a request that is not acceptable.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct FieldError {
    /// JSON pointer into the body; `/headers/…` for a header.
    pub pointer: String,
    /// What is not acceptable, for a person.
    pub detail: String,
}

impl FieldError {
    /// An error at `pointer`.
    pub fn new(pointer: impl Into<String>, detail: impl Into<String>) -> Self {
        Self { pointer: pointer.into(), detail: detail.into() }
    }
}

impl OrderRequest {
    /// Checks every field, not only up to the first that is wrong.
    ///
    /// # Errors
    /// One for each field that is not acceptable.
    pub fn parse<'a>(
        customer: &str,
        lines: impl ExactSizeIterator<Item = (&'a str, i64)>,
        limits: OrderLimits,
    ) -> Result<Self, Vec<FieldError>> {
        let mut errors = Vec::new();
        if !(1..=128).contains(&customer.chars().count()) || customer.contains('\0') {
            errors.push(FieldError::new("/customer", "must have 1 to 128 characters, none of them NUL"));
        }
        if !(1..=limits.lines).contains(&lines.len()) {
            errors.push(FieldError::new("/lines", format!("must have 1 to {} entries", limits.lines)));
            return Err(errors); // ten thousand lines would make ten thousand errors
        }
        let mut summed: BTreeMap<Sku, i64> = BTreeMap::new();
        for (index, (sku, quantity)) in lines.enumerate() {
            if !(1..=limits.quantity).contains(&quantity) {
                let detail = format!("must be 1 to {}", limits.quantity);
                errors.push(FieldError::new(format!("/lines/{index}/quantity"), detail));
            }
            match sku.parse::<Sku>() {
                Ok(sku) => {
                    let sum = summed.entry(sku).or_default();
                    *sum = sum.saturating_add(quantity);
                }
                Err(error) => errors.push(FieldError::new(format!("/lines/{index}/sku"), error.to_string())),
            }
        }
        if errors.is_empty() && summed.values().any(|sum| *sum > limits.quantity) {
            let detail = format!("one SKU must not exceed {} units in all", limits.quantity);
            errors.push(FieldError::new("/lines", detail));
        }
        if !errors.is_empty() {
            return Err(errors);
        }
        let lines = summed.into_iter().map(|(sku, quantity)| OrderLine { sku, quantity }).collect();
        Ok(Self { customer: customer.to_owned(), lines })
    }

    /// The same bytes for two requests that order the same, in whatever order
    /// their lines were sent.
    pub fn canonical(&self) -> Vec<u8> {
        let lines: Vec<_> = self.lines.iter().map(|line| (line.sku.as_str(), line.quantity)).collect();
        serde_json::json!([self.customer, lines]).to_string().into_bytes()
    }
}

/// An order, as stored and as shown.
#[derive(Debug, Clone, Serialize, utoipa::ToSchema)]
#[schema(as = OrderView)]
pub struct Order {
    /// The id of the order, as in `Location`.
    pub id: Uuid,
    /// The customer's name.
    pub customer: String,
    /// The state of the order.
    pub status: OrderStatus,
    /// How stock was guarded.
    pub strategy: Strategy,
    /// Sorted by SKU, each once.
    pub lines: Vec<OrderLine>,
    /// The units set aside for the order; absent until they are.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reservation: Option<Reservation>,
}

/// The state of an order: `pending → held → confirmed | cancelled`, or
/// `pending → failed`. A retry under the same key makes a failed order pending
/// again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, EnumString, IntoStaticStr, utoipa::ToSchema)]
#[serde(rename_all = "lowercase")]
#[strum(serialize_all = "lowercase")]
pub enum OrderStatus {
    /// In progress, or its outcome is not known yet.
    Pending,
    /// Units are set aside until the hold ends.
    Held,
    /// Final: the units belong to the customer.
    Confirmed,
    /// Final: the units were returned.
    Cancelled,
    /// No units were set aside.
    Failed,
}

impl OrderStatus {
    /// The name, as stored and as sent.
    pub fn name(self) -> &'static str {
        self.into()
    }
}

/// The units that inventory set aside for an order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Reservation {
    /// Inventory's id of the reservation.
    pub reservation_id: Uuid,
    /// `held`, `confirmed`, `cancelled` or `expired`, as of inventory's latest answer.
    #[schema(value_type = String)]
    pub status: ReservationStatus,
    /// When the hold ends, RFC 3339.
    pub expires_at: String,
    /// The units, by SKU.
    #[serde(default)]
    pub lines: Vec<ReservedLine>,
}

/// One line of a reservation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct ReservedLine {
    /// The SKU.
    #[schema(value_type = String)]
    pub sku: Sku,
    /// Units.
    pub quantity: i64,
    /// The token of the write; absent under strategies without one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fencing_token: Option<u64>,
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: OrderLimits = OrderLimits { lines: 3, quantity: 10 };

    fn parse(lines: &[(&str, i64)]) -> Result<OrderRequest, Vec<FieldError>> {
        OrderRequest::parse("ada", lines.iter().copied(), LIMITS)
    }

    #[test]
    fn duplicate_skus_are_summed_and_lines_are_sorted() {
        let request = parse(&[("b", 1), ("a", 2), ("b", 3)]).expect("valid");
        let lines: Vec<_> = request.lines.iter().map(|l| (l.sku.as_str(), l.quantity)).collect();
        assert_eq!(lines, [("a", 2), ("b", 4)]);
    }

    #[test]
    fn a_sum_over_the_limit_is_refused_though_each_line_is_within_it() {
        let errors = parse(&[("a", 6), ("a", 6)]).expect_err("12 > 10");
        assert_eq!(errors[0].pointer, "/lines");
    }

    #[test]
    fn every_field_that_is_wrong_is_named() {
        let errors = OrderRequest::parse("", [("a b", 0), ("", 11)].into_iter(), LIMITS).expect_err("all wrong");
        let pointers: Vec<_> = errors.iter().map(|error| error.pointer.as_str()).collect();
        assert_eq!(pointers, ["/customer", "/lines/0/quantity", "/lines/0/sku", "/lines/1/quantity", "/lines/1/sku"]);
    }

    #[test]
    fn too_many_lines_are_one_error_not_thousands() {
        let errors = OrderRequest::parse("ada", vec![("!", 0); 10_000].into_iter(), LIMITS).expect_err("too many");
        assert_eq!(errors.len(), 1);
    }

    #[test]
    fn the_order_of_lines_does_not_change_what_is_ordered() {
        let one = parse(&[("a", 1), ("b", 2)]).expect("valid").canonical();
        let two = parse(&[("b", 1), ("a", 1), ("b", 1)]).expect("valid").canonical();
        assert_eq!(one, two);
    }

    #[test]
    fn an_order_status_has_one_name_in_text_and_json() {
        let all = [
            OrderStatus::Pending,
            OrderStatus::Held,
            OrderStatus::Confirmed,
            OrderStatus::Cancelled,
            OrderStatus::Failed,
        ];
        for status in all {
            assert_eq!(status.name().parse(), Ok(status));
            assert_eq!(serde_json::json!(status), status.name());
        }
    }
}
