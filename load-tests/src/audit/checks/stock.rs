//! Items 1 to 3: what the stock row says against what was promised out of it.

use crate::audit::Evidence;
use crate::audit::oversold;

/// 1. Σ live units ≤ units there are, per SKU; from the reservations now, and from the ledger at any time.
pub(in crate::audit) fn live_units_exist(evidence: &Evidence<'_>) -> Vec<String> {
    let snapshot = evidence.snapshot;
    let (live, ever) = (snapshot.live_units(), oversold::by_sku(&snapshot.ledger));
    let mut found = Vec::new();
    for row in &snapshot.stock {
        let live = live.get(row.sku.as_str()).copied().unwrap_or_default();
        if live > row.on_hand {
            found.push(format!("{}: {live} units are promised and {} are there", row.sku, row.on_hand));
        } else if let Some(&over) = ever.get(row.sku.as_str()).filter(|over| **over > 0) {
            found.push(format!("{}: {over} units too many were promised for a while", row.sku));
        }
    }
    found
}

/// 2. available = on hand − Σ live units; and the ledger moved as many units as the reservations hold.
pub(in crate::audit) fn available_adds_up(evidence: &Evidence<'_>) -> Vec<String> {
    let snapshot = evidence.snapshot;
    let (live, ledger) = (snapshot.live_units(), snapshot.ledger_by_sku());
    let mut found = Vec::new();
    for row in &snapshot.stock {
        let live = live.get(row.sku.as_str()).copied().unwrap_or_default();
        if row.available != row.on_hand - live {
            let (sku, available, on_hand) = (&row.sku, row.available, row.on_hand);
            found.push(format!(
                "{sku}: available is {available}, but {on_hand} on hand − {live} promised = {}",
                on_hand - live
            ));
        }
        let rows = ledger.get(row.sku.as_str()).map(Vec::as_slice).unwrap_or_default();
        let gone: i64 = rows.iter().filter(|entry| entry.kind != "put").map(|entry| -entry.delta).sum();
        if gone != live {
            found.push(format!("{}: the ledger gave out {gone} units, the reservations hold {live}", row.sku));
        }
    }
    found
}

/// 3. 0 ≤ available ≤ on hand.
pub(in crate::audit) fn available_within_bounds(evidence: &Evidence<'_>) -> Vec<String> {
    let out = evidence.snapshot.stock.iter().filter(|row| row.available < 0 || row.available > row.on_hand);
    out.map(|row| format!("{}: {} of {} are available", row.sku, row.available, row.on_hand)).collect()
}

#[cfg(test)]
mod tests {
    use crate::audit::checks::corruption::{only, valid};

    #[test]
    fn more_promised_than_there_is_breaks_item_1() {
        let mut snapshot = valid();
        snapshot.reservations[0].lines[0].quantity = 9;
        assert!(only(&snapshot, 1).iter().any(|found| found.contains("10 units are promised and 3 are there")));
    }

    #[test]
    fn an_oversell_that_was_cancelled_again_still_breaks_item_1() {
        let mut snapshot = valid();
        for (delta, kind) in [(-5, "reserve"), (5, "cancel")] {
            let last = snapshot.ledger.last().expect("a ledger").clone();
            let (before, after) = (last.after, last.after + delta);
            snapshot.ledger.push(crate::audit::LedgerRow {
                seq: last.seq + 1,
                delta,
                before,
                after,
                kind: kind.into(),
                fence: None,
                ..last
            });
        }
        assert!(only(&snapshot, 1).iter().any(|found| found.contains("for a while")));
    }

    #[test]
    fn available_that_does_not_add_up_breaks_item_2() {
        let mut snapshot = valid();
        snapshot.stock[0].available += 1;
        assert_eq!(only(&snapshot, 2).len(), 1);
    }

    #[test]
    fn a_ledger_that_forgot_a_sale_breaks_item_2() {
        let mut snapshot = valid();
        snapshot.ledger.pop();
        assert!(only(&snapshot, 2)[0].contains("the ledger gave out 1 units, the reservations hold 2"));
    }

    #[test]
    fn negative_availability_breaks_item_3() {
        let mut snapshot = valid();
        snapshot.stock[0].available = -1;
        assert_eq!(only(&snapshot, 3).len(), 1);
        snapshot.stock[0].available = 4;
        assert_eq!(only(&snapshot, 3).len(), 1);
    }
}
