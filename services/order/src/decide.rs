//! The decision that sits between read and write. Pure: what was read goes in,
//! yes or no comes out. It may be wrong by the time it is written, and nothing
//! here tries to prevent that: the lock makes it rare, the fence makes it harmless.

use crate::order::{Line, Sku};

/// What a SKU looked like when it was read.
#[derive(Debug, Clone, PartialEq, Eq, serde::Deserialize)]
pub struct Snapshot {
    /// Which.
    pub sku: Sku,
    /// Units that nobody holds.
    pub available: i64,
    /// The row's version, for those who compare versions.
    #[serde(default)]
    pub version: Option<i64>,
}

/// Not enough units of this SKU were seen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Short {
    /// The first that is short, in SKU order.
    pub sku: Sku,
    /// How many there were.
    pub available: i64,
}

/// Are there enough units of everything?
///
/// # Errors
/// The first SKU that is short. One that was not observed counts as 0 units.
pub fn decide(lines: &[Line], observed: &[Snapshot]) -> Result<(), Short> {
    for line in lines {
        let available = observed_units(&line.sku, observed);
        if available < line.quantity {
            return Err(Short { sku: line.sku.clone(), available });
        }
    }
    Ok(())
}

fn observed_units(sku: &Sku, observed: &[Snapshot]) -> i64 {
    observed.iter().find(|seen| seen.sku == *sku).map_or(0, |seen| seen.available)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(sku: &str, quantity: i64) -> Line {
        Line { sku: Sku::parse(sku).expect("valid"), quantity }
    }

    fn seen(sku: &str, available: i64) -> Snapshot {
        Snapshot { sku: Sku::parse(sku).expect("valid"), available, version: None }
    }

    #[test]
    fn the_last_unit_can_be_had() {
        assert_eq!(decide(&[line("a", 3)], &[seen("a", 3)]), Ok(()));
    }

    #[test]
    fn one_short_line_refuses_the_whole_order() {
        let short = decide(&[line("a", 1), line("b", 2)], &[seen("b", 1), seen("a", 9)]).expect_err("b is short");
        assert_eq!((short.sku.as_str(), short.available), ("b", 1));
    }

    #[test]
    fn what_was_not_observed_is_not_there() {
        assert_eq!(decide(&[line("a", 1)], &[]).expect_err("unseen").available, 0);
    }
}
