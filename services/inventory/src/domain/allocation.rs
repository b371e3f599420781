//! Orders that shared one grant of locks and are written together: what each of them gets, as if they had been
//! written one after the other. Invariant: an order gets all its lines or none; units that a refused order does
//! not get are left for the next. Absence: no I/O.

use std::collections::BTreeMap;

use contract::{Sku, Strategy};
use serde::Serialize;
use uuid::Uuid;

use crate::domain::{
    error::StockError,
    stock::{ReserveLine, fingerprint},
};

/// Orders to be written together.
#[derive(Debug, Clone)]
pub struct Batch {
    /// How all of them guard stock; a strategy that claims.
    pub strategy: Strategy,
    /// The token and the units of each SKU, as they were claimed and read.
    pub stock: BTreeMap<Sku, ClaimedStock>,
    /// In the order in which units are allocated.
    pub orders: Vec<BatchOrder>,
    /// How long the units are held, in seconds.
    pub hold_seconds: i64,
}

/// The stock of one SKU of a batch, as it was claimed and read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ClaimedStock {
    /// The token it was claimed with.
    pub fencing_token: i64,
    /// `available` when it was read.
    pub observed_available: i64,
}

/// One of the orders.
#[derive(Debug, Clone)]
pub struct BatchOrder {
    /// The order; it has at most one reservation.
    pub order_id: Uuid,
    /// Units by SKU; every SKU is among the batch's stock.
    pub lines: BTreeMap<Sku, i64>,
}

/// What is written for a batch.
#[derive(Debug, Default)]
pub struct Allocation {
    /// The orders that get their units.
    pub served: Vec<ServedOrder>,
    /// The orders that do not, with the reason.
    pub refused: Vec<(Uuid, StockError)>,
    /// The SKUs whose units change.
    pub stock: BTreeMap<Sku, StockWrite>,
}

/// An order that gets its units.
#[derive(Debug)]
pub struct ServedOrder {
    /// The order.
    pub order_id: Uuid,
    /// Distinguishes a repeated request from another one with the same order id.
    pub fingerprint: String,
    /// In SKU order. `observed_available` is what the orders before it left.
    pub lines: Vec<ReserveLine>,
}

/// The new value of one row of `stock`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct StockWrite {
    /// The token that the write carries.
    pub fencing_token: i64,
    /// Units left after all orders of the batch.
    pub available: i64,
}

impl BatchOrder {
    /// Distinguishes a repeated request from another one with the same order id.
    pub fn fingerprint(&self) -> String {
        fingerprint(self.lines.iter().map(|(sku, quantity)| (sku, *quantity)))
    }
}

impl Batch {
    /// Allocates units to the orders one after the other, except to those that `is_reserved` names.
    pub fn allocate(&self, is_reserved: impl Fn(Uuid) -> bool) -> Allocation {
        let mut left: BTreeMap<&Sku, i64> =
            self.stock.iter().map(|(sku, stock)| (sku, stock.observed_available)).collect();
        let mut allocation = Allocation::default();
        for order in self.orders.iter().filter(|order| !is_reserved(order.order_id)) {
            let short = order.lines.iter().find(|(sku, quantity)| left.get(sku).is_none_or(|units| units < *quantity));
            if let Some((sku, _)) = short {
                let available = left.get(sku).copied().unwrap_or_default();
                allocation.refused.push((order.order_id, StockError::OutOfStock { sku: sku.clone(), available }));
                continue;
            }
            let mut lines = Vec::with_capacity(order.lines.len());
            for (sku, quantity) in &order.lines {
                let (Some(units), Some(stock)) = (left.get_mut(sku), self.stock.get(sku)) else { continue };
                lines.push(ReserveLine {
                    sku: sku.clone().into(),
                    quantity: *quantity,
                    fencing_token: Some(stock.fencing_token),
                    observed_available: Some(*units),
                    observed_version: None,
                });
                *units -= quantity;
                let write = StockWrite { fencing_token: stock.fencing_token, available: *units };
                allocation.stock.insert(sku.clone(), write);
            }
            let (order_id, fingerprint) = (order.order_id, order.fingerprint());
            allocation.served.push(ServedOrder { order_id, fingerprint, lines });
        }
        allocation
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sku(name: &str) -> Sku {
        name.parse().expect("valid")
    }

    fn batch(stock: &[(&str, i64)], orders: &[&[(&str, i64)]]) -> Batch {
        let claimed =
            |(name, units): &(&str, i64)| (sku(name), ClaimedStock { fencing_token: 7, observed_available: *units });
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
    fn each_order_observes_what_the_orders_before_it_left() {
        let allocation = batch(&[("a", 5)], &[&[("a", 2)], &[("a", 3)]]).allocate(|_| false);
        let observed: Vec<_> = allocation.served.iter().map(|order| order.lines[0].observed_available).collect();
        let left = allocation.stock[&sku("a")].available;
        assert_eq!((observed, left, allocation.refused.len()), (vec![Some(5), Some(3)], 0, 0));
    }

    #[test]
    fn an_order_that_cannot_be_served_takes_nothing_and_the_next_is_served() {
        let batch = batch(&[("a", 5), ("b", 0)], &[&[("a", 4), ("b", 1)], &[("a", 9)], &[("a", 5)]]);
        let allocation = batch.allocate(|_| false);
        let served: Vec<_> = allocation.served.iter().map(|order| order.order_id.as_u128()).collect();
        assert_eq!((served, allocation.stock.len()), (vec![2], 1));
        let refused: Vec<_> = allocation.refused.iter().map(|(_, error)| error.to_string()).collect();
        assert_eq!(refused, ["SKU b has too few units: 0 available", "SKU a has too few units: 5 available"]);
    }

    #[test]
    fn an_order_that_has_a_reservation_takes_nothing() {
        let batch = batch(&[("a", 3)], &[&[("a", 3)], &[("a", 3)]]);
        let allocation = batch.allocate(|order| order == Uuid::from_u128(0));
        let left = allocation.stock[&sku("a")].available;
        assert_eq!((allocation.served.len(), allocation.refused.len(), left), (1, 0, 0));
    }
}
