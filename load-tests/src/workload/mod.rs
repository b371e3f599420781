//! The attack: every strategy of a cell at the same time, each on SKUs of its own, over all replicas of order.
//!
//! Invariant: exactly as many orders as were planned, each with a key of its own; one is tried again only under its key.
//! Absence: no number of the verdict is counted by whoever sends; the histories are the whole result.

mod closed;
pub mod history;
mod open;
pub mod outcome;
mod request;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use anyhow::Context as _;
use contract::Strategy;
use reqwest::Client;
use tokio::time::Instant;

use crate::interrupt::Interrupt;
use crate::workload::history::History;

/// One cell's attack.
#[derive(Debug)]
pub struct Attack {
    /// Every replica of order; asked in turn.
    pub orders: Vec<String>,
    /// Each strategy's part.
    pub workloads: Vec<Workload>,
    /// How long an answer is waited for.
    pub answer_limit: Duration,
    /// What customers are up to.
    pub duplicates: Arc<DuplicateMode>,
    /// Asks the attack to end early.
    pub interrupt: Interrupt,
    http: Client,
}

/// One strategy's part of an attack.
#[derive(Debug)]
pub struct Workload {
    /// Sent with every order.
    pub strategy: Strategy,
    /// Keys begin with it; unique to the row.
    pub prefix: String,
    /// The SKU of each order.
    pub demand: Vec<String>,
    /// Where everything is recorded.
    pub history: Arc<History>,
    /// The number of the next order.
    pub next: AtomicUsize,
}

/// What customers do beside ordering.
#[derive(Debug, Default)]
pub struct DuplicateMode {
    twice: AtomicBool,
}

/// Customers send their orders twice until this is dropped.
#[derive(Debug)]
pub struct DuplicateGuard<'a>(&'a DuplicateMode);

impl DuplicateMode {
    /// From now on, every other order is sent twice at the same moment.
    pub fn duplicates(&self) -> DuplicateGuard<'_> {
        self.twice.store(true, Ordering::Relaxed);
        DuplicateGuard(self)
    }

    fn sends_twice(&self, number: usize) -> bool {
        number.is_multiple_of(2) && self.twice.load(Ordering::Relaxed)
    }
}

impl Drop for DuplicateGuard<'_> {
    fn drop(&mut self) {
        self.0.twice.store(false, Ordering::Relaxed);
    }
}

impl Attack {
    /// Sends nothing yet.
    ///
    /// # Errors
    /// There is nobody to attack, or the HTTP client cannot be built.
    pub fn new(
        orders: &[String],
        workloads: Vec<Workload>,
        answer_limit: Duration,
        duplicates: Arc<DuplicateMode>,
        interrupt: &Interrupt,
    ) -> anyhow::Result<Self> {
        anyhow::ensure!(!orders.is_empty(), "there is no order service to attack");
        let http = Client::builder().no_proxy().http1_only().tcp_nodelay(true).retry(reqwest::retry::never()).build();
        let http = http.context("the customers' HTTP client")?;
        Ok(Self { orders: orders.to_vec(), workloads, answer_limit, duplicates, interrupt: interrupt.clone(), http })
    }

    /// So many customers of each workload order so many times, each after their last order was answered. By goose.
    ///
    /// # Errors
    /// Goose could not run. What went wrong with an order is in its history.
    pub async fn closed(self, users: u64, iterations: u64) -> anyhow::Result<()> {
        closed::run(Arc::new(self), users, iterations).await
    }

    /// Each order of each workload is sent when it is due, whatever became of the ones before; `due` since `began`.
    pub async fn open(self, began: Instant, due: &[Duration]) {
        open::arrive(&Arc::new(self), began, due).await;
    }

    /// So many customers of each workload order again and again until `until`.
    pub async fn crowd(self, users: u64, until: Instant) {
        open::crowd(&Arc::new(self), users, until).await;
    }
}

impl Workload {
    fn take_number(&self) -> Option<usize> {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        (number < self.demand.len()).then_some(number)
    }
}
