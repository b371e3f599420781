//! How many units were sold that never were: the maximum over every prefix of the ledger, so that an expiry or a
//! cancellation cannot erase it.
//!
//! Absence: `available` is not looked at. A lost update ends at 0 and looks innocent there.

use std::collections::HashMap;

use crate::audit::LedgerRow;

/// Units oversold of each SKU, 0 where none were. Rows come in the order of `seq`.
pub fn by_sku(ledger: &[LedgerRow]) -> HashMap<&str, i64> {
    struct Sku {
        live: i64,
        there: i64,
        worst: i64,
    }
    let mut skus: HashMap<&str, Sku> = HashMap::new();
    for row in ledger {
        let sku = skus.entry(&row.sku).or_insert(Sku { live: 0, there: 0, worst: 0 });
        if row.kind == "put" {
            sku.there += row.delta;
        } else {
            sku.live -= row.delta;
        }
        sku.worst = sku.worst.max(sku.live - sku.there);
    }
    skus.into_iter().map(|(name, sku)| (name, sku.worst)).collect()
}

/// Units oversold over all SKUs.
pub fn units(ledger: &[LedgerRow]) -> u64 {
    by_sku(ledger).into_values().map(i64::unsigned_abs).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(sku: &str, kind: &str, delta: i64) -> LedgerRow {
        let (before, after) = (0, 0);
        let (fence, reservation_id) = (None, None);
        LedgerRow {
            seq: 0,
            sku: sku.into(),
            delta,
            before,
            after,
            fence,
            kind: kind.into(),
            reservation_id,
            transaction: String::new(),
            at: time::OffsetDateTime::UNIX_EPOCH,
        }
    }

    #[test]
    fn selling_what_is_there_oversells_nothing() {
        assert_eq!(units(&[row("a", "put", 2), row("a", "reserve", -1), row("a", "reserve", -1)]), 0);
    }

    #[test]
    fn one_sku_too_many_is_not_made_up_for_by_another() {
        let ledger = [row("a", "put", 1), row("b", "put", 5), row("a", "reserve", -3)];
        assert_eq!(units(&ledger), 2);
    }

    #[test]
    fn an_expiry_does_not_erase_it() {
        let ledger = [row("a", "put", 1), row("a", "reserve", -1), row("a", "reserve", -1), row("a", "expire", 1)];
        assert_eq!(units(&ledger), 1);
    }

    #[test]
    fn what_comes_back_may_be_sold_again() {
        let ledger = [row("a", "put", 1), row("a", "reserve", -1), row("a", "cancel", 1), row("a", "reserve", -1)];
        assert_eq!(units(&ledger), 0);
    }

    #[test]
    fn units_that_came_later_do_not_excuse_what_was_sold_before() {
        let ledger = [row("a", "put", 1), row("a", "reserve", -2), row("a", "put", 1)];
        assert_eq!(units(&ledger), 1);
    }
}
