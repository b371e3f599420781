//! What a fault can read and reach while a cell runs.
//!
//! Absence: no fault is implemented or named here.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use contract::Strategy;
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until, timeout};

use super::event::{EventOutcome, FaultEvent};
use super::injection::Injection;
use crate::audit::Auditor;
use crate::cluster::lab_client::LabClient;
use crate::cluster::process::{ReplicaProcess, ReplicaProcesses};
use crate::cluster::proxies::Proxies;
use crate::cluster::servers::Servers;
use crate::fraction::fraction_of;
use crate::workload::DuplicateMode;
use crate::workload::history::History;
use crate::workload::tally::Tally;

/// An order is in flight by then, or no customer orders any more and there is nothing to disturb. Longer than the calm part of
/// an open sale may have between two orders, which are answered at once.
const BUSY_WITHIN: Duration = Duration::from_secs(30);

/// What a fault can read and reach while a cell runs.
#[derive(Debug)]
pub struct FaultContext<'a> {
    /// Every strategy under attack, each on SKUs of its own.
    pub targets: &'a [FaultTarget],
    /// The length of a lease.
    pub lease: Duration,
    /// How long an order waits for its lock.
    pub wait: Duration,
    /// The lab endpoints of inventory.
    pub inventory: &'a LabClient,
    /// The lab endpoints of order.
    pub orders: &'a LabClient,
    /// The replicas whose processes can be paused.
    pub processes: &'a ReplicaProcesses,
    /// The servers; absent if this process did not start them.
    pub servers: Option<&'a Servers>,
    /// The URL of a database, as a superuser who can terminate sessions.
    pub postgres: &'a str,
    /// Reads the databases.
    pub auditor: &'a Auditor,
    /// Makes customers send their orders twice.
    pub duplicates: &'a DuplicateMode,
    /// True once the sale is over.
    pub over: watch::Receiver<bool>,
    /// How the progress of the sale is measured.
    pub pace: Pace,
    /// The planned injections, in order.
    pub injections: Vec<Injection>,
}

/// One strategy under attack.
#[derive(Debug)]
pub struct FaultTarget {
    /// The strategy of its orders.
    pub strategy: Strategy,
    /// The SKUs on sale.
    pub skus: Vec<String>,
    /// Its clock, and its outcomes so far.
    pub history: Arc<History>,
}

/// How the progress of a sale is measured.
#[derive(Debug, Clone, Copy)]
pub enum Pace {
    /// By units sold, out of this many in each target.
    Stock(u64),
    /// By time: the begin of the sale, and its length.
    Clock(Instant, Duration),
}

impl FaultTarget {
    /// All SKUs, beginning with number `start`, modulo their number: where one SKU has sold out, the next may not have.
    pub(super) fn skus_from(&self, start: usize) -> impl Iterator<Item = &str> {
        let all = self.skus.len();
        self.skus.iter().cycle().skip(start % all.max(1)).take(all).map(String::as_str)
    }
}

impl FaultContext<'_> {
    /// Calls `once` for each planned injection, when it is due and orders are in flight, until the sale is over.
    pub(super) async fn inject_while_busy(
        &self,
        once: impl AsyncFn(&Injection) -> anyhow::Result<FaultEvent>,
    ) -> anyhow::Result<Vec<FaultEvent>> {
        self.inject_several_while_busy(async |injection| Ok(vec![once(injection).await?])).await
    }

    /// The same, where one injection has several events.
    pub(super) async fn inject_several_while_busy(
        &self,
        once: impl AsyncFn(&Injection) -> anyhow::Result<Vec<FaultEvent>>,
    ) -> anyhow::Result<Vec<FaultEvent>> {
        let mut events = Vec::new();
        for injection in &self.injections {
            if !self.wait_until_due(injection).await || !self.wait_until_busy().await {
                break;
            }
            events.extend(once(injection).await?);
        }
        Ok(events)
    }

    /// Waits until the injection is due; `false` if the sale ends first.
    pub(super) async fn wait_until_due(&self, injection: &Injection) -> bool {
        let due = async {
            match self.pace {
                Pace::Stock(stock) => {
                    let units = fraction_of(stock * self.targets.len() as u64, injection.after);
                    self.wait_until_sold(units).await;
                }
                Pace::Clock(began, window) => sleep_until(began + window.mul_f64(injection.after)).await,
            }
        };
        tokio::select! {
            () = due => !*self.over.borrow(),
            () = self.sale_ended() => false,
        }
    }

    /// Waits until `count` orders have been accepted, in all targets together.
    async fn wait_until_sold(&self, count: u64) {
        let mut tallies: Vec<_> = self.targets.iter().map(|target| target.history.tally()).collect();
        loop {
            let sold: u64 = tallies.iter_mut().map(|tally| tally.borrow_and_update().accepted).sum();
            if sold >= count {
                return;
            }
            let changes = tallies.iter_mut().map(|tally| Box::pin(tally.changed()));
            let _ = futures_util::future::select_all(changes).await;
        }
    }

    /// Waits until the sale is over.
    pub(super) async fn sale_ended(&self) {
        // An error means that the cell is being torn down: the sale is over as well.
        let _ = self.over.clone().wait_for(|over| *over).await;
    }

    pub(super) fn is_over(&self) -> bool {
        *self.over.borrow()
    }

    /// Milliseconds since the row began.
    pub(super) fn now_ms(&self) -> u128 {
        self.targets.first().map_or(0, |target| target.history.now().as_millis())
    }

    /// The target of this injection: the `fitting` ones take turns. Absent if none fits.
    pub(super) fn target(&self, injection: &Injection, fitting: impl Fn(&FaultTarget) -> bool) -> Option<&FaultTarget> {
        let fitting: Vec<_> = self.targets.iter().filter(|target| fitting(target)).collect();
        fitting.get(injection.number % fitting.len().max(1)).copied()
    }

    /// Orders in flight, in all targets together.
    pub(super) fn in_flight(&self) -> usize {
        self.targets.iter().map(|target| target.history.in_flight()).sum()
    }

    /// Waits until an order is in flight; `false` if none is within [`BUSY_WITHIN`] or the sale ends.
    pub(super) async fn wait_until_busy(&self) -> bool {
        let mut invoked: Vec<_> = self.targets.iter().map(|target| target.history.invocations()).collect();
        let busy = async {
            loop {
                for count in &mut invoked {
                    drop(count.borrow_and_update());
                }
                if self.in_flight() > 0 {
                    return;
                }
                let changes = invoked.iter_mut().map(|count| Box::pin(count.changed()));
                let _ = futures_util::future::select_all(changes).await;
            }
        };
        tokio::select! {
            busy = timeout(BUSY_WITHIN, busy) => busy.is_ok(),
            () = self.sale_ended() => false,
        }
    }

    /// The tallies of all targets, added.
    pub(super) fn tally(&self) -> Tally {
        let mut all = Tally::default();
        for target in self.targets {
            all.add(&target.history.tally().borrow());
        }
        all
    }

    pub(super) fn servers(&self) -> anyhow::Result<&Servers> {
        self.servers.context("this process did not start the servers, so it cannot break them")
    }

    pub(super) fn proxies(&self) -> anyhow::Result<&Proxies> {
        self.servers()?.proxies.as_ref().context("this stack was started without proxies")
    }

    /// The replica of order that the injection names.
    pub(super) fn order_replica(&self, injection: &Injection) -> anyhow::Result<&ReplicaProcess> {
        pick(&self.processes.orders, injection.replica).context("the processes of order cannot be reached")
    }

    /// The replica of inventory that the injection names.
    pub(super) fn inventory_replica(&self, injection: &Injection) -> anyhow::Result<&ReplicaProcess> {
        pick(&self.processes.inventory, injection.replica).context("the processes of inventory cannot be reached")
    }

    /// The event of an injection that ends now and concerns every target.
    pub(super) fn event(&self, replica: String, from_ms: u128, fired: bool, observed: String) -> FaultEvent {
        FaultEvent {
            strategy: None,
            replica,
            sku: String::new(),
            from_ms,
            to_ms: self.now_ms(),
            fired,
            outcome: EventOutcome::Observed(observed),
            order_id: None,
            fencing_token: None,
        }
    }
}

fn pick<T>(all: &[T], number: usize) -> Option<&T> {
    all.get(number % all.len().max(1))
}
