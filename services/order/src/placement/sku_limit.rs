//! Limits the orders of one SKU that are in progress, so that a SKU whose orders
//! take long leaves room for orders of the others.
//!
//! Absence: nothing waits here; an order above the limit is refused at once.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use contract::Sku;

use crate::domain::{error::OrderError, order::OrderLine};

/// The orders in progress of each SKU. Cheap to clone.
#[derive(Debug, Clone)]
pub struct SkuLimit {
    most: usize,
    in_progress: Arc<Mutex<HashMap<Sku, usize>>>,
}

/// The place of one order, given back by dropping it.
#[derive(Debug)]
pub struct SkuPlaces {
    limit: SkuLimit,
    skus: Vec<Sku>,
}

impl SkuLimit {
    /// Three quarters of the requests that may be in progress, at least 1.
    pub fn of(max_concurrency: usize) -> Self {
        Self { most: (max_concurrency - max_concurrency / 4).max(1), in_progress: Arc::default() }
    }

    /// Takes a place for an order of these lines, each of another SKU.
    ///
    /// # Errors
    /// `Overloaded`: one of the SKUs has no place left.
    pub fn enter(&self, lines: &[OrderLine]) -> Result<SkuPlaces, OrderError> {
        let mut in_progress = self.lock();
        if lines.iter().any(|line| in_progress.get(&line.sku).is_some_and(|orders| *orders >= self.most)) {
            return Err(OrderError::Overloaded);
        }
        for line in lines {
            *in_progress.entry(line.sku.clone()).or_default() += 1;
        }
        drop(in_progress);
        Ok(SkuPlaces { limit: self.clone(), skus: lines.iter().map(|line| line.sku.clone()).collect() })
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Sku, usize>> {
        self.in_progress.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for SkuPlaces {
    fn drop(&mut self) {
        let mut in_progress = self.limit.lock();
        for sku in &self.skus {
            if let Some(orders) = in_progress.get_mut(sku) {
                *orders -= 1;
                if *orders == 0 {
                    in_progress.remove(sku);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(skus: &[&str]) -> Vec<OrderLine> {
        skus.iter().map(|sku| OrderLine { sku: sku.parse().expect("a SKU"), quantity: 1 }).collect()
    }

    #[test]
    fn a_sku_has_three_quarters_of_the_places_and_gives_them_back() {
        let limit = SkuLimit::of(4);
        let mut places: Vec<_> = (0..3).map(|_| limit.enter(&lines(&["chair", "table"])).expect("a place")).collect();
        assert!(matches!(limit.enter(&lines(&["chair", "lamp"])), Err(OrderError::Overloaded)));
        limit.enter(&lines(&["lamp"])).expect("an order that was refused took no place");
        places.pop();
        limit.enter(&lines(&["chair"])).expect("a place");
        places.clear();
        assert!(limit.lock().is_empty(), "nothing is kept of SKUs without orders");
    }
}
