//! Items 5 and 6: what the append-only ledger says about the order of writes.

use crate::audit::{DbSnapshot, Evidence};

/// 5. Per SKU, fences never decrease along the ledger, and rows that share one were written in one transaction.
pub(in crate::audit) fn fences_never_decrease(evidence: &Evidence<'_>) -> Vec<String> {
    let mut found = Vec::new();
    for (sku, rows) in evidence.snapshot.ledger_by_sku() {
        let fenced: Vec<_> = rows.into_iter().filter_map(|row| Some((row, row.fence?))).collect();
        for pair in fenced.windows(2) {
            let ((earlier, old), (later, new)) = (pair[0], pair[1]);
            if new < old {
                found.push(format!("{sku}: fence {new} of row {} comes after {old} of row {}", later.seq, earlier.seq));
            } else if new == old && earlier.transaction != later.transaction {
                found.push(format!(
                    "{sku}: rows {} and {} share fence {new} and no transaction",
                    earlier.seq, later.seq
                ));
            }
        }
    }
    found
}

/// 6. The ledger chains.
pub(in crate::audit) fn chains(evidence: &Evidence<'_>) -> Vec<String> {
    let mut found = lost_updates(evidence.snapshot);
    for row in evidence.snapshot.ledger.iter().filter(|row| row.after != row.before + row.delta) {
        found.push(format!("{}: row {} says {} {:+} = {}", row.sku, row.seq, row.before, row.delta, row.after));
    }
    found
}

/// Every place where a writer's *before* is not what the writer before it left: a lost update.
pub(in crate::audit) fn lost_updates(snapshot: &DbSnapshot) -> Vec<String> {
    let mut found = Vec::new();
    for (sku, rows) in snapshot.ledger_by_sku() {
        let mut left = 0;
        for row in rows {
            if row.before != left {
                found.push(format!("{sku}: row {} was computed from {} when {left} were there", row.seq, row.before));
            }
            left = row.after;
        }
    }
    found
}

impl DbSnapshot {
    /// How many writes were computed from a read that was no longer true.
    pub fn lost_updates(&self) -> usize {
        lost_updates(self).len()
    }
}

#[cfg(test)]
mod tests {
    use crate::audit::checks::corruption::{only, valid};

    #[test]
    fn a_fence_that_goes_back_breaks_item_5() {
        let mut snapshot = valid();
        snapshot.ledger[2].fence = Some(1);
        assert!(only(&snapshot, 5)[0].contains("fence 1 of row 3 comes after 2 of row 2"));
    }

    #[test]
    fn two_transactions_with_one_fence_break_item_5() {
        let mut snapshot = valid();
        snapshot.ledger[2].fence = snapshot.ledger[1].fence;
        assert_eq!(only(&snapshot, 5).len(), 1);
        snapshot.ledger[2].transaction = snapshot.ledger[1].transaction.clone();
        assert_eq!(only(&snapshot, 5), Vec::<String>::new());
    }

    #[test]
    fn a_lost_update_breaks_item_6() {
        let mut snapshot = valid();
        (snapshot.ledger[2].before, snapshot.ledger[2].after) = (3, 2);
        assert_eq!(only(&snapshot, 6).len(), 1);
        assert_eq!(snapshot.lost_updates(), 1);
    }

    #[test]
    fn arithmetic_that_is_wrong_breaks_item_6_and_is_no_lost_update() {
        let mut snapshot = valid();
        snapshot.ledger[2].after = 0;
        assert_eq!(only(&snapshot, 6).len(), 1);
        assert_eq!(snapshot.lost_updates(), 0);
    }
}
