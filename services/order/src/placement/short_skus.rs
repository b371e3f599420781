//! The SKUs that had too few units for an order when they were last seen. An order for one of them reads its stock before
//! it does anything else.
//!
//! Invariant: bounded. Absence: no order is refused because of what is remembered here; it only says where a look at the
//! stock is likely to save the rest.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use contract::Sku;

use crate::domain::order::OrderLine;

/// As many as this are remembered; the others are found out again and again.
const MOST: usize = 10_000;

/// The units that were left of each. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct ShortSkus(Arc<Mutex<HashMap<Sku, i64>>>);

impl ShortSkus {
    /// So many units were available when an order needed more.
    pub fn record(&self, sku: &Sku, available: i64) {
        let mut skus = self.lock();
        if skus.len() < MOST || skus.contains_key(sku) {
            skus.insert(sku.clone(), available);
        }
    }

    /// The SKU has the units that an order needs.
    pub fn forget(&self, sku: &Sku) {
        self.lock().remove(sku);
    }

    /// Whether one of the lines was short when it was last seen.
    pub fn may_be_short(&self, lines: &[OrderLine]) -> bool {
        let skus = self.lock();
        !skus.is_empty() && lines.iter().any(|line| skus.get(&line.sku).is_some_and(|left| *left < line.quantity))
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Sku, i64>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_order_that_needs_more_than_was_left_may_be_short_until_the_sku_is_forgotten() {
        let (short, sku): (_, Sku) = (ShortSkus::default(), "chair".parse().expect("a SKU"));
        let line = |quantity| [OrderLine { sku: sku.clone(), quantity }];
        assert!(!short.may_be_short(&line(1)));
        short.record(&sku, 2);
        assert!(short.may_be_short(&line(3)) && !short.may_be_short(&line(2)));
        short.forget(&sku);
        assert!(!short.may_be_short(&line(3)));
    }

    #[test]
    fn the_number_of_skus_is_bounded() {
        let (short, sku) = (ShortSkus::default(), |n: usize| -> Sku { format!("s{n}").parse().expect("a SKU") });
        (0..=MOST).for_each(|n| short.record(&sku(n), 0));
        assert!(!short.may_be_short(&[OrderLine { sku: sku(MOST), quantity: 1 }]));
        assert!(short.may_be_short(&[OrderLine { sku: sku(0), quantity: 1 }]));
    }
}
