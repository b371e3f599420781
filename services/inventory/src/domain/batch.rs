//! Several orders written at once, because they shared a grant: what each of them finds and leaves, as if they
//! had come one after the other. Pure. Invariant: an order gets all its lines or none, and what one does not
//! get is there for the next. Absence: no SQL, no HTTP.

use std::collections::BTreeMap;

use uuid::Uuid;

use crate::{domain::error::StockError, domain::stock::Sku, strategy::Strategy};

/// What the orders of a batch were decided on, for one SKU.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ClaimedStock {
    /// The token it was claimed with.
    pub token: i64,
    /// Units there were before the first of the orders.
    pub observed: i64,
}

/// One of the orders.
#[derive(Debug, Clone)]
pub struct BatchOrder {
    /// Which.
    pub order_id: Uuid,
    /// Units by SKU, each of which has a basis.
    pub lines: BTreeMap<Sku, i64>,
}

/// Orders to be written together.
#[derive(Debug, Clone)]
pub struct Batch {
    /// How they are guarded.
    pub strategy: Strategy,
    /// What they were decided on.
    pub stock: BTreeMap<Sku, ClaimedStock>,
    /// In the order in which they are served.
    pub orders: Vec<BatchOrder>,
    /// How long.
    pub hold_seconds: i64,
}

/// One line of the ledger to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Which SKU.
    pub sku: Sku,
    /// Units.
    pub quantity: i64,
    /// The token it is written with.
    pub token: i64,
    /// Units there were before it.
    pub before: i64,
}

/// What is to be written: the entries of each order that is served, and what stays of each SKU.
#[derive(Debug, Default)]
pub struct Plan {
    /// Which orders are served, with what.
    pub served: Vec<(Uuid, Vec<Entry>)>,
    /// Which are not, and why.
    pub refused: Vec<(Uuid, StockError)>,
    /// Units left, by SKU, of those that move.
    pub after: BTreeMap<Sku, i64>,
}

impl BatchOrder {
    /// What was asked for, in canonical form; see `ReserveRequest::fingerprint`.
    pub fn fingerprint(&self) -> String {
        let lines: Vec<_> = self.lines.iter().map(|(sku, quantity)| format!("{sku}×{quantity}")).collect();
        lines.join(" ")
    }
}

impl Batch {
    /// Serves the orders one after the other, except those that `left_out` names.
    pub fn plan(&self, left_out: impl Fn(Uuid) -> bool) -> Plan {
        let mut left: BTreeMap<&Sku, i64> = self.stock.iter().map(|(sku, claimed)| (sku, claimed.observed)).collect();
        let mut plan = Plan::default();
        for BatchOrder { order_id, lines } in self.orders.iter().filter(|order| !left_out(order.order_id)) {
            let short = lines.iter().find(|(sku, quantity)| left.get(sku).is_none_or(|units| units < *quantity));
            if let Some((sku, _)) = short {
                let available = left.get(sku).copied().unwrap_or_default();
                plan.refused.push((*order_id, StockError::OutOfStock { sku: sku.to_string(), available }));
                continue;
            }
            let mut entries = Vec::with_capacity(lines.len());
            for (sku, quantity) in lines {
                let (Some(units), Some(claimed)) = (left.get_mut(sku), self.stock.get(sku)) else { continue };
                let entry = Entry { sku: sku.clone(), quantity: *quantity, token: claimed.token, before: *units };
                *units -= quantity;
                plan.after.insert(sku.clone(), *units);
                entries.push(entry);
            }
            plan.served.push((*order_id, entries));
        }
        plan
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sku(name: &str) -> Sku {
        name.parse().expect("valid")
    }

    fn batch(stock: &[(&str, i64)], orders: &[&[(&str, i64)]]) -> Batch {
        let claimed = |(name, observed): &(&str, i64)| (sku(name), ClaimedStock { token: 7, observed: *observed });
        let order = |(number, lines): (usize, &&[(&str, i64)])| BatchOrder {
            order_id: Uuid::from_u128(number as u128),
            lines: lines.iter().map(|(name, quantity)| (sku(name), *quantity)).collect(),
        };
        Batch {
            strategy: Strategy::RedlockFenced,
            stock: stock.iter().map(claimed).collect(),
            orders: orders.iter().enumerate().map(order).collect(),
            hold_seconds: 60,
        }
    }

    #[test]
    fn each_order_finds_what_the_one_before_left() {
        let plan = batch(&[("a", 5)], &[&[("a", 2)], &[("a", 3)]]).plan(|_| false);
        let before: Vec<_> = plan.served.iter().map(|(_, entries)| entries[0].before).collect();
        assert_eq!((before, plan.after[&sku("a")], plan.refused.len()), (vec![5, 3], 0, 0));
    }

    #[test]
    fn an_order_that_cannot_be_served_takes_nothing_and_stops_nobody() {
        let plan = batch(&[("a", 5), ("b", 0)], &[&[("a", 4), ("b", 1)], &[("a", 9)], &[("a", 5)]]).plan(|_| false);
        let served: Vec<_> = plan.served.iter().map(|(order, _)| order.as_u128()).collect();
        assert_eq!((served, plan.after.len()), (vec![2], 1));
        assert!(matches!(&plan.refused[0].1, StockError::OutOfStock { sku, available: 0 } if sku == "b"));
        assert!(matches!(&plan.refused[1].1, StockError::OutOfStock { sku, available: 5 } if sku == "a"));
    }

    #[test]
    fn an_order_that_is_left_out_takes_nothing() {
        let plan = batch(&[("a", 3)], &[&[("a", 3)], &[("a", 3)]]).plan(|order| order == Uuid::from_u128(0));
        assert_eq!((plan.served.len(), plan.refused.len(), plan.after[&sku("a")]), (1, 0, 0));
    }
}
