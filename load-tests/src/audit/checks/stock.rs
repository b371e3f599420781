//! Items 1 to 3: the stock row against the reservations and the ledger.

use crate::audit::evidence::Evidence;
use crate::audit::oversold;
use crate::audit::snapshot::{LedgerKind, StockRow};
use crate::audit::violation::Violation;

/// 1. Σ live units ≤ units in stock, per SKU: by the reservations now, and by the ledger at any time.
pub(super) fn live_units_exist(evidence: &Evidence<'_>) -> Vec<Violation> {
    let snapshot = evidence.snapshot;
    let (live, ever) = (snapshot.live_units(), oversold::by_sku(&snapshot.ledger, &snapshot.carried_forward));
    let mut violations = Vec::new();
    for row in &snapshot.stock {
        let (sku, on_hand) = (row.sku.clone(), row.on_hand);
        let live = live.get(row.sku.as_str()).copied().unwrap_or_default();
        if live > on_hand {
            violations.push(Violation::LiveUnitsExceedStock { sku, live, on_hand });
        } else if let Some(&excess) = ever.get(row.sku.as_str()).filter(|excess| **excess > 0) {
            violations.push(Violation::LiveUnitsExceededStock { sku, excess });
        }
    }
    violations
}

/// 2. available = on hand − Σ live units, and the ledger took as many units as the live reservations hold.
pub(super) fn available_adds_up(evidence: &Evidence<'_>) -> Vec<Violation> {
    let snapshot = evidence.snapshot;
    let (live, ledger) = (snapshot.live_units(), snapshot.ledger_by_sku());
    let mut violations = Vec::new();
    for row in &snapshot.stock {
        let live = live.get(row.sku.as_str()).copied().unwrap_or_default();
        let (available, on_hand) = (row.available, row.on_hand);
        if available != on_hand - live {
            violations.push(Violation::AvailableDiffers { sku: row.sku.clone(), available, on_hand, live });
        }
        let rows = ledger.get(row.sku.as_str()).map(Vec::as_slice).unwrap_or_default();
        let taken: i64 = rows.iter().filter(|entry| entry.kind != LedgerKind::Put).map(|entry| -entry.delta).sum();
        let taken = taken + snapshot.carried(&row.sku).taken_units;
        if taken != live {
            violations.push(Violation::LedgerDiffers { sku: row.sku.clone(), taken, live });
        }
    }
    violations
}

/// 3. 0 ≤ available ≤ on hand.
pub(super) fn available_within_bounds(evidence: &Evidence<'_>) -> Vec<Violation> {
    let out = evidence.snapshot.stock.iter().filter(|row| row.available < 0 || row.available > row.on_hand);
    let violation = |row: &StockRow| Violation::AvailableOutOfBounds {
        sku: row.sku.clone(),
        available: row.available,
        on_hand: row.on_hand,
    };
    out.map(violation).collect()
}

#[cfg(test)]
mod tests {
    use crate::audit::checks::corruption::{only, valid};
    use crate::audit::{Item, LedgerKind, LedgerRow, Violation};

    #[test]
    fn more_live_units_than_stock_break_item_1() {
        let mut snapshot = valid();
        snapshot.reservations[0].lines[0].quantity = 9;
        let exceeded = Violation::LiveUnitsExceedStock { sku: "a".into(), live: 10, on_hand: 3 };
        assert_eq!(only(&snapshot, Item::LiveUnitsExist), [exceeded]);
    }

    #[test]
    fn an_oversell_that_was_cancelled_again_still_breaks_item_1() {
        let mut snapshot = valid();
        for (delta, kind) in [(-5, LedgerKind::Reserve), (5, LedgerKind::Cancel)] {
            let last = snapshot.ledger.last().expect("a ledger").clone();
            let (before, after) = (last.after, last.after + delta);
            snapshot.ledger.push(LedgerRow { seq: last.seq + 1, delta, before, after, kind, fence: None, ..last });
        }
        let exceeded = Violation::LiveUnitsExceededStock { sku: "a".into(), excess: 4 };
        assert_eq!(only(&snapshot, Item::LiveUnitsExist), [exceeded]);
    }

    #[test]
    fn available_that_does_not_add_up_breaks_item_2() {
        let mut snapshot = valid();
        snapshot.stock[0].available += 1;
        assert_eq!(only(&snapshot, Item::AvailableAddsUp).len(), 1);
    }

    #[test]
    fn a_ledger_without_the_row_of_a_sale_breaks_item_2() {
        let mut snapshot = valid();
        snapshot.ledger.pop();
        let differs = Violation::LedgerDiffers { sku: "a".into(), taken: 1, live: 2 };
        assert_eq!(only(&snapshot, Item::AvailableAddsUp), [differs]);
    }

    #[test]
    fn available_below_zero_or_above_on_hand_breaks_item_3() {
        let mut snapshot = valid();
        snapshot.stock[0].available = -1;
        assert_eq!(only(&snapshot, Item::AvailableWithinBounds).len(), 1);
        snapshot.stock[0].available = 4;
        assert_eq!(only(&snapshot, Item::AvailableWithinBounds).len(), 1);
    }
}
