//! One strategy's sale: its stock on fresh SKUs, its customers' demand, and the history of both.
//!
//! Invariant: no two sales share a SKU or an idempotency key.

use std::sync::Arc;
use std::sync::atomic::AtomicUsize;

use anyhow::Context as _;
use contract::Strategy;

use crate::faults::FaultTarget;
use crate::runner::environment::Environment;
use crate::workload::Workload;
use crate::workload::history::History;

/// One strategy's sale.
#[derive(Debug)]
pub struct Sale {
    /// How stock is guarded.
    pub strategy: Strategy,
    /// SKUs and keys begin with it.
    pub prefix: String,
    /// What is sold.
    pub skus: Vec<String>,
    /// Units of all of it.
    pub stock: u64,
    /// The history's name, in the environment's folder.
    pub file: String,
    /// What was asked and answered.
    pub history: Arc<History>,
}

impl Sale {
    /// Puts stock on the shelves, so many units of a SKU each.
    ///
    /// # Errors
    /// Inventory does not take it, or the history cannot be written.
    pub async fn open(
        environment: &Environment<'_>,
        strategy: Strategy,
        name: &str,
        stocks: &[u64],
        file: String,
    ) -> anyhow::Result<Self> {
        let prefix = format!("{}-{name}", environment.prefix);
        let skus: Vec<String> = (0..stocks.len()).map(|sku| format!("{prefix}-{sku}")).collect();
        for (sku, stock) in skus.iter().zip(stocks) {
            environment.inventory.put_stock(sku, *stock).await?;
        }
        let history =
            History::begin(&environment.folder.join(&file)).with_context(|| format!("{file} cannot be written"))?;
        Ok(Self { strategy, prefix, skus, stock: stocks.iter().sum(), file, history: Arc::new(history) })
    }

    /// As customers see it, who want these SKUs, by number, one after the other.
    pub fn workload(&self, demand: &[u64]) -> Workload {
        let sku = |sku: &u64| usize::try_from(*sku).ok().and_then(|sku| self.skus.get(sku).cloned());
        Workload {
            strategy: self.strategy,
            prefix: self.prefix.clone(),
            demand: demand.iter().filter_map(sku).collect(),
            history: Arc::clone(&self.history),
            next: AtomicUsize::new(0),
        }
    }

    /// As faults see it.
    pub fn fault_target(&self) -> FaultTarget {
        FaultTarget { strategy: self.strategy, skus: self.skus.clone(), history: Arc::clone(&self.history) }
    }
}
