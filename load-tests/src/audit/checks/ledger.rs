//! Items 5 and 6: what the append-only ledger records about the order of writes.

use crate::audit::evidence::Evidence;
use crate::audit::snapshot::LostUpdate;
use crate::audit::violation::Violation;

/// 5. Per SKU, fences never decrease along the ledger, and rows with the same fence were written in one transaction.
pub(super) fn fences_never_decrease(evidence: &Evidence<'_>) -> Vec<Violation> {
    let mut violations = Vec::new();
    for (sku, rows) in evidence.snapshot.ledger_by_sku() {
        let carried = evidence.snapshot.carried(sku);
        let first = rows.iter().find_map(|row| Some((row.seq, row.fence?)));
        if let (Some((seq, fence)), Some(earlier_fence)) = (first, carried.fence)
            && fence < earlier_fence
        {
            let (sku, earlier_seq) = (sku.to_owned(), carried.last_seq);
            violations.push(Violation::FenceDecreased { sku, seq, fence, earlier_seq, earlier_fence });
        }
        let fenced: Vec<_> = rows.into_iter().filter_map(|row| Some((row, row.fence?))).collect();
        for pair in fenced.windows(2) {
            let ((earlier, old), (later, new)) = (pair[0], pair[1]);
            let (sku, seq, earlier_seq, fence) = (sku.to_owned(), later.seq, earlier.seq, new);
            if new < old {
                violations.push(Violation::FenceDecreased { sku, seq, fence, earlier_seq, earlier_fence: old });
            } else if new == old && earlier.transaction != later.transaction {
                violations.push(Violation::FenceShared { sku, fence, earlier_seq, seq });
            }
        }
    }
    violations
}

/// 6. Every row begins where the row before it ended, and adds up.
pub(super) fn chains(evidence: &Evidence<'_>) -> Vec<Violation> {
    let lost = evidence.snapshot.lost_updates().into_iter();
    let lost = lost.map(|LostUpdate { sku, seq, read, actual }| Violation::LostUpdate { sku, seq, read, actual });
    let wrong = evidence.snapshot.ledger.iter().filter(|row| row.after != row.before + row.delta);
    let wrong = wrong.map(|row| Violation::WrongSum {
        sku: row.sku.clone(),
        seq: row.seq,
        before: row.before,
        delta: row.delta,
        after: row.after,
    });
    lost.chain(wrong).collect()
}

#[cfg(test)]
mod tests {
    use crate::audit::checks::corruption::{only, valid};
    use crate::audit::{Item, Violation};

    #[test]
    fn a_fence_that_decreases_breaks_item_5() {
        let mut snapshot = valid();
        snapshot.ledger[2].fence = Some(1);
        let decreased =
            Violation::FenceDecreased { sku: "a".into(), seq: 3, fence: 1, earlier_seq: 2, earlier_fence: 2 };
        assert_eq!(only(&snapshot, Item::FencesNeverDecrease), [decreased]);
    }

    #[test]
    fn two_transactions_with_one_fence_break_item_5() {
        let mut snapshot = valid();
        snapshot.ledger[2].fence = snapshot.ledger[1].fence;
        assert_eq!(only(&snapshot, Item::FencesNeverDecrease).len(), 1);
        snapshot.ledger[2].transaction = snapshot.ledger[1].transaction.clone();
        assert_eq!(only(&snapshot, Item::FencesNeverDecrease), []);
    }

    #[test]
    fn a_lost_update_breaks_item_6() {
        let mut snapshot = valid();
        (snapshot.ledger[2].before, snapshot.ledger[2].after) = (3, 2);
        assert_eq!(only(&snapshot, Item::LedgerChains).len(), 1);
        assert_eq!(snapshot.lost_updates().len(), 1);
    }

    #[test]
    fn a_wrong_sum_breaks_item_6_and_is_no_lost_update() {
        let mut snapshot = valid();
        snapshot.ledger[2].after = 0;
        assert_eq!(only(&snapshot, Item::LedgerChains).len(), 1);
        assert_eq!(snapshot.lost_updates(), []);
    }
}
