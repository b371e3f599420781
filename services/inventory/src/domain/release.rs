//! Ending reservations and returning their units: what is ended, and why.

use std::collections::BTreeSet;

use contract::Sku;
use fenced_lock::Locks;
use serde::Serialize;
use strum::IntoStaticStr;
use uuid::Uuid;

/// Why units are returned; the names are those of `stock_ledger.kind`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, IntoStaticStr, Serialize)]
#[strum(serialize_all = "lowercase")]
#[serde(rename_all = "lowercase")]
pub enum ReleaseReason {
    /// The order was cancelled.
    Cancel,
    /// The hold has ended.
    Expire,
}

impl ReleaseReason {
    /// The name in `stock_ledger.kind`.
    pub fn name(self) -> &'static str {
        self.into()
    }
}

/// Whole reservations, ended in one transaction.
#[derive(Debug, Clone)]
pub struct ReleaseRequest {
    /// The reservations, at least one.
    pub ids: Vec<Uuid>,
    /// Every SKU of these reservations.
    pub skus: BTreeSet<Sku>,
    /// Why they are ended.
    pub reason: ReleaseReason,
}

/// A held reservation whose hold has ended.
#[derive(Debug, Clone, sqlx::FromRow)]
pub struct EndedHold {
    /// The id of the reservation.
    pub id: Uuid,
    /// The SKUs whose units it holds.
    #[sqlx(json)]
    pub skus: Vec<Sku>,
}

impl ReleaseRequest {
    /// Cancels one reservation.
    pub fn cancel(id: Uuid, skus: impl IntoIterator<Item = Sku>) -> Self {
        Self { ids: vec![id], skus: skus.into_iter().collect(), reason: ReleaseReason::Cancel }
    }

    /// Expires one hold.
    pub fn expire(hold: &EndedHold) -> Self {
        Self { ids: vec![hold.id], skus: hold.skus.iter().cloned().collect(), reason: ReleaseReason::Expire }
    }

    /// Expires the first of `holds`, and as many of the following as one grant of locks covers; `None` if there are
    /// no holds.
    pub fn expire_batch(holds: &[EndedHold]) -> Option<Self> {
        let (first, following) = holds.split_first()?;
        let mut batch = Self::expire(first);
        for hold in following {
            let added = hold.skus.iter().filter(|sku| !batch.skus.contains(*sku)).count();
            if batch.skus.len() + added > Locks::MAX_RESOURCES {
                break;
            }
            batch.ids.push(hold.id);
            batch.skus.extend(hold.skus.iter().cloned());
        }
        Some(batch)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hold(skus: std::ops::Range<usize>) -> EndedHold {
        let sku = |n| format!("s{n}").parse().expect("a SKU");
        EndedHold { id: Uuid::now_v7(), skus: skus.map(sku).collect() }
    }

    #[test]
    fn a_batch_names_each_sku_once() {
        let batch = ReleaseRequest::expire_batch(&[hold(0..3), hold(1..4)]).expect("two holds");
        assert_eq!((batch.ids.len(), batch.skus.len()), (2, 4));
    }

    #[test]
    fn a_batch_is_no_larger_than_one_grant_and_never_part_of_a_hold() {
        let batch = ReleaseRequest::expire_batch(&[hold(0..100), hold(100..200), hold(0..1)]).expect("one hold");
        assert_eq!((batch.ids.len(), batch.skus.len()), (1, 100));
        assert!(ReleaseRequest::expire_batch(&[]).is_none());
    }
}
