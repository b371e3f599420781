//! One cell's attack: what it sends, and where to.
//!
//! Absence: nothing is sent here. `open` and `closed` decide when an order is sent, `request` sends it.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use anyhow::Context as _;
use contract::Strategy;
use reqwest::Client;

use super::duplicates::DuplicateMode;
use super::history::History;
use crate::interrupt::Interrupt;

/// One cell's attack.
#[derive(Debug)]
pub struct Attack {
    /// The base URL of every replica of order; they are used in turn.
    pub orders: Vec<String>,
    /// The workload of each strategy.
    pub workloads: Vec<Workload>,
    /// How long an attempt waits for its answer.
    pub answer_limit: Duration,
    /// Whether customers send their orders twice.
    pub duplicates: Arc<DuplicateMode>,
    /// Ends the attack early.
    pub interrupt: Interrupt,
    pub(super) http: Client,
}

/// The orders of one strategy.
#[derive(Debug)]
pub struct Workload {
    /// Sent with every order.
    pub strategy: Strategy,
    /// The prefix of every idempotency key; unique to the row.
    pub prefix: String,
    /// The SKU of each order; of its first line, if it has several.
    pub demand: Vec<String>,
    /// Lines of each order, at least 1; each asks for a unit.
    pub lines: usize,
    /// Records every request and every answer.
    pub history: Arc<History>,
    /// The number of the next order.
    pub next: AtomicUsize,
}

impl Attack {
    /// Sends nothing yet.
    ///
    /// # Errors
    /// `orders` is empty, or the HTTP client cannot be built.
    pub fn new(
        orders: &[String],
        workloads: Vec<Workload>,
        answer_limit: Duration,
        duplicates: Arc<DuplicateMode>,
        interrupt: &Interrupt,
    ) -> anyhow::Result<Self> {
        anyhow::ensure!(!orders.is_empty(), "no replica of order to attack");
        let http = Client::builder().no_proxy().http1_only().tcp_nodelay(true).retry(reqwest::retry::never()).build();
        let http = http.context("the HTTP client of the attack cannot be built")?;
        Ok(Self { orders: orders.to_vec(), workloads, answer_limit, duplicates, interrupt: interrupt.clone(), http })
    }
}

impl Workload {
    /// The SKU of each line of an order: its own, and those of orders that are placed at other times.
    pub(super) fn skus(&self, number: usize) -> impl Iterator<Item = &str> {
        let (orders, lines) = (self.demand.len(), self.lines.max(1));
        (0..lines).map(move |line| self.demand[(number + line * (orders / lines)) % orders].as_str())
    }

    /// The number of the next order; `None` once all of the demand was ordered.
    pub(super) fn take_number(&self) -> Option<usize> {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        (number < self.demand.len()).then_some(number)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lines_of_an_order_are_for_skus_of_orders_at_other_times() {
        let demand: Vec<_> = (0..9).map(|sku| sku.to_string()).collect();
        let history = tempfile::NamedTempFile::new().expect("a file");
        let workload = |lines| Workload {
            strategy: Strategy::Off,
            prefix: String::new(),
            demand: demand.clone(),
            lines,
            history: Arc::new(History::begin(history.path()).expect("a history")),
            next: AtomicUsize::new(0),
        };
        assert_eq!(workload(1).skus(8).collect::<Vec<_>>(), ["8"]);
        assert_eq!(workload(3).skus(8).collect::<Vec<_>>(), ["8", "2", "5"]);
    }
}
