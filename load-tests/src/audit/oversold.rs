//! How many units were sold beyond stock: the maximum over every prefix of the ledger, so that a later expiry or
//! cancellation does not erase it.
//!
//! Absence: `available` is not read. After a lost update it ends at 0 and shows no error.

use std::collections::HashMap;

use super::snapshot::{CarriedForward, LedgerKind, LedgerRow};

/// Units oversold of each SKU, 0 where none were. The rows must be in the order of `seq`; `carried` is what the rows before
/// them add up to, where there were any.
pub fn by_sku<'a>(ledger: &'a [LedgerRow], carried: &'a [CarriedForward]) -> HashMap<&'a str, i64> {
    struct Sku {
        live: i64,
        stock: i64,
        worst: i64,
    }
    let of_deleted = |carried: &'a CarriedForward| {
        let CarriedForward { taken_units: live, put_units: stock, oversold: worst, .. } = *carried;
        (carried.sku.as_str(), Sku { live, stock, worst })
    };
    let mut skus: HashMap<&str, Sku> = carried.iter().map(of_deleted).collect();
    for row in ledger {
        let sku = skus.entry(&row.sku).or_insert(Sku { live: 0, stock: 0, worst: 0 });
        match row.kind {
            LedgerKind::Put => sku.stock += row.delta,
            LedgerKind::Reserve | LedgerKind::Cancel | LedgerKind::Expire => sku.live -= row.delta,
        }
        sku.worst = sku.worst.max(sku.live - sku.stock);
    }
    skus.into_iter().map(|(name, sku)| (name, sku.worst)).collect()
}

/// Units oversold over all SKUs, by the whole ledger.
pub fn units(ledger: &[LedgerRow]) -> u64 {
    by_sku(ledger, &[]).into_values().map(i64::unsigned_abs).sum()
}

#[cfg(test)]
mod tests {
    use super::LedgerKind::{Cancel, Expire, Put, Reserve};
    use super::*;

    fn row(sku: &str, kind: LedgerKind, delta: i64) -> LedgerRow {
        let (before, after) = (0, 0);
        let (fence, reservation_id) = (None, None);
        LedgerRow {
            seq: 0,
            sku: sku.into(),
            delta,
            before,
            after,
            fence,
            kind,
            reservation_id,
            transaction: String::new(),
            at: time::OffsetDateTime::UNIX_EPOCH,
        }
    }

    #[test]
    fn selling_the_whole_stock_oversells_nothing() {
        assert_eq!(units(&[row("a", Put, 2), row("a", Reserve, -1), row("a", Reserve, -1)]), 0);
    }

    #[test]
    fn unsold_units_of_one_sku_do_not_offset_oversold_units_of_another() {
        let ledger = [row("a", Put, 1), row("b", Put, 5), row("a", Reserve, -3)];
        assert_eq!(units(&ledger), 2);
    }

    #[test]
    fn an_expiry_does_not_erase_it() {
        let ledger = [row("a", Put, 1), row("a", Reserve, -1), row("a", Reserve, -1), row("a", Expire, 1)];
        assert_eq!(units(&ledger), 1);
    }

    #[test]
    fn returned_units_may_be_sold_again() {
        let ledger = [row("a", Put, 1), row("a", Reserve, -1), row("a", Cancel, 1), row("a", Reserve, -1)];
        assert_eq!(units(&ledger), 0);
    }

    #[test]
    fn units_added_later_do_not_excuse_what_was_sold_before() {
        let ledger = [row("a", Put, 1), row("a", Reserve, -2), row("a", Put, 1)];
        assert_eq!(units(&ledger), 1);
    }
}
