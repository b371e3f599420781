//! "Sold out" without a lock, a claim or a commit: one read of the stock, begun after the request arrived and shared by all
//! who came before it began, shows too few units at one moment between request and answer.
//!
//! Invariant: a key that is known is never refused here. It is looked up after the stock was read: if an earlier request
//! with this key took the missing units, its key was recorded before.
//! Absence: nothing is written. A retry under the same key is a new order.

use tokio::time::Instant;

use crate::{domain::error::OrderError, placement::place_order::OrderPlacement, store::key_records::KeyedRequest};

impl OrderPlacement {
    /// Why a new order would not be sold; `None` if it might be, or nobody knows.
    pub(super) async fn shortage(&self, request: &KeyedRequest) -> Option<OrderError> {
        let lines = &request.order.lines;
        if !self.short_skus.may_be_short(lines) {
            return None;
        }
        let inventory = &self.section().inventory;
        let skus = lines.iter().map(|line| line.sku.clone()).collect();
        let stock = inventory.available(skus, Instant::now() + self.section().lease.get()).await.ok()?;
        let mut shortage = None;
        for line in lines {
            // A SKU without stock is unknown, which the usual way tells.
            let available = *stock.get(&line.sku)?;
            if available >= line.quantity {
                self.short_skus.forget(&line.sku);
            } else {
                self.short_skus.record(&line.sku, available);
                shortage.get_or_insert(OrderError::OutOfStock { sku: line.sku.clone(), available });
            }
        }
        let shortage = shortage?;
        if self.db.knows_key(request).await.ok()? {
            return None;
        }
        let (strategy, outcome) = (request.strategy.name(), shortage.code().as_str());
        metrics::counter!("orders_total", "strategy" => strategy, "outcome" => outcome).increment(1);
        metrics::counter!("orders_refused_by_a_read_total", "strategy" => strategy).increment(1);
        Some(shortage)
    }
}
