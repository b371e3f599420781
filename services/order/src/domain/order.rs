//! What an order is. Pure: no I/O, no HTTP, no SQL. Lines are sorted by SKU and
//! every SKU appears once, by construction: nothing after this has to sum again.

use std::{collections::BTreeMap, fmt};

use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// The name of something that is sold: `[A-Za-z0-9_-]{1,64}`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Sku(String);

impl Sku {
    /// # Errors
    /// Says which characters are allowed.
    pub fn parse(name: &str) -> Result<Self, &'static str> {
        let allowed = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
        if (1..=64).contains(&name.len()) && name.chars().all(allowed) {
            Ok(Self(name.to_owned()))
        } else {
            Err("must be 1 to 64 letters, digits, '_' or '-'")
        }
    }

    /// As written by the customer.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Sku {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// So many units of one SKU.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct OrderLine {
    /// What.
    pub sku: Sku,
    /// How many, at least one.
    pub quantity: i64,
}

/// What a customer asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OrderRequest {
    /// Who.
    pub customer: String,
    /// Sorted by SKU, each once.
    pub lines: Vec<OrderLine>,
}

/// How much one order may ask for.
#[derive(Debug, Clone, Copy)]
pub struct OrderLimits {
    /// Lines as the customer wrote them, before duplicates are summed.
    pub lines: usize,
    /// Units of one SKU, after duplicates are summed.
    pub quantity: i64,
}

/// One thing that is wrong with a request, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FieldError {
    /// JSON pointer into the body.
    pub pointer: String,
    /// For a person.
    pub detail: String,
}

impl OrderRequest {
    /// Checks everything and tells everything that is wrong, not just the first.
    ///
    /// # Errors
    /// One fault for each field.
    pub fn parse<'a>(
        customer: &str,
        lines: impl ExactSizeIterator<Item = (&'a str, i64)>,
        limits: OrderLimits,
    ) -> Result<Self, Vec<FieldError>> {
        let mut errors = Vec::new();
        if !(1..=128).contains(&customer.chars().count()) || customer.contains('\0') {
            errors.push(field_error("/customer", "must have 1 to 128 characters, none of them NUL"));
        }
        if !(1..=limits.lines).contains(&lines.len()) {
            errors.push(field_error("/lines", format!("must have 1 to {} entries", limits.lines)));
            return Err(errors); // ten thousand lines would make ten thousand faults
        }
        let mut summed: BTreeMap<Sku, i64> = BTreeMap::new();
        for (index, (sku, quantity)) in lines.enumerate() {
            if !(1..=limits.quantity).contains(&quantity) {
                let detail = format!("must be 1 to {}", limits.quantity);
                errors.push(field_error(format!("/lines/{index}/quantity"), detail));
            }
            match Sku::parse(sku) {
                Ok(sku) => {
                    let sum = summed.entry(sku).or_default();
                    *sum = sum.saturating_add(quantity);
                }
                Err(detail) => errors.push(field_error(format!("/lines/{index}/sku"), detail)),
            }
        }
        if errors.is_empty() && summed.values().any(|sum| *sum > limits.quantity) {
            let detail = format!("one SKU must not exceed {} units in all", limits.quantity);
            errors.push(field_error("/lines", detail));
        }
        if !errors.is_empty() {
            return Err(errors);
        }
        let lines = summed.into_iter().map(|(sku, quantity)| OrderLine { sku, quantity }).collect();
        Ok(Self { customer: customer.to_owned(), lines })
    }

    /// The same for two requests that ask for the same, however they were written.
    pub fn canonical(&self) -> Vec<u8> {
        let lines: Vec<_> = self.lines.iter().map(|line| (line.sku.as_str(), line.quantity)).collect();
        serde_json::json!([self.customer, lines]).to_string().into_bytes()
    }
}

fn field_error(pointer: impl Into<String>, detail: impl Into<String>) -> FieldError {
    FieldError { pointer: pointer.into(), detail: detail.into() }
}

/// Where an order stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum OrderStatus {
    /// Being worked on, or waiting to be resolved.
    Pending,
    /// Units are set aside for it.
    Held,
    /// Final: the customer has it.
    Confirmed,
    /// Final: the units went back.
    Cancelled,
    /// It never got its units.
    Failed,
}

impl OrderStatus {
    /// As stored and as sent.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Held => "held",
            Self::Confirmed => "confirmed",
            Self::Cancelled => "cancelled",
            Self::Failed => "failed",
        }
    }
}

/// What inventory set aside for an order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Reservation {
    /// Inventory's name for it.
    pub reservation_id: Uuid,
    /// `held`, `confirmed`, `cancelled` or `expired`, when inventory was last asked.
    pub status: String,
    /// When the hold ends, RFC 3339.
    pub expires_at: String,
    /// What is held.
    #[serde(default)]
    pub lines: Vec<ReservedLine>,
}

impl Reservation {
    /// Its units are the order's.
    pub fn is_live(&self) -> bool {
        matches!(self.status.as_str(), "held" | "confirmed")
    }
}

/// One line of a reservation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct ReservedLine {
    /// What.
    pub sku: String,
    /// How many.
    pub quantity: i64,
    /// The token it was written with; absent under strategies without one.
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
        let wanted = parse(&[("b", 1), ("a", 2), ("b", 3)]).expect("valid");
        let lines: Vec<_> = wanted.lines.iter().map(|l| (l.sku.as_str(), l.quantity)).collect();
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
        let pointers: Vec<_> = errors.iter().map(|f| f.pointer.as_str()).collect();
        assert_eq!(pointers, ["/customer", "/lines/0/quantity", "/lines/0/sku", "/lines/1/quantity", "/lines/1/sku"]);
    }

    #[test]
    fn too_many_lines_are_one_fault_not_thousands() {
        let errors = OrderRequest::parse("ada", vec![("!", 0); 10_000].into_iter(), LIMITS).expect_err("too many");
        assert_eq!(errors.len(), 1);
    }

    #[test]
    fn the_order_of_lines_does_not_change_what_is_asked_for() {
        let one = parse(&[("a", 1), ("b", 2)]).expect("valid").canonical();
        let two = parse(&[("b", 1), ("a", 1), ("b", 1)]).expect("valid").canonical();
        assert_eq!(one, two);
    }
}
