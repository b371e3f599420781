//! One strategy's sale: stock on fresh SKUs, the demand for them, and the history of requests and answers.
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
    /// Prefix of its SKUs and keys.
    pub prefix: String,
    /// Its SKUs.
    pub skus: Vec<String>,
    /// Units in stock, over all SKUs.
    pub stock: u64,
    /// File name of the history, in the environment's folder.
    pub file: String,
    /// Requests and answers.
    pub history: Arc<History>,
}

impl Sale {
    /// Sets the stock, one SKU for each entry of `stocks`, and begins the history.
    ///
    /// # Errors
    /// Inventory refuses the stock, or the history cannot be written.
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

    /// The sale as a workload: one order, of one line, for each index of a SKU in `demand`.
    pub fn workload(&self, demand: &[u64]) -> Workload {
        let sku = |sku: &u64| usize::try_from(*sku).ok().and_then(|sku| self.skus.get(sku).cloned());
        Workload {
            strategy: self.strategy,
            prefix: self.prefix.clone(),
            demand: demand.iter().filter_map(sku).collect(),
            lines: 1,
            history: Arc::clone(&self.history),
            next: AtomicUsize::new(0),
        }
    }

    /// The sale as the target of a fault.
    pub fn fault_target(&self) -> FaultTarget {
        FaultTarget { strategy: self.strategy, skus: self.skus.clone(), history: Arc::clone(&self.history) }
    }
}
