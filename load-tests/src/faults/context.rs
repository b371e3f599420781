//! What a fault may see and touch while a cell runs, and what it tells of each strike.
//!
//! Absence: no fault of its own. What several faults do to learn the same thing is here, once.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use contract::Strategy;
use serde::Serialize;
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until, timeout};
use uuid::Uuid;

use crate::audit::Auditor;
use crate::cluster::lab_client::LabClient;
use crate::cluster::process::{ReplicaProcess, ReplicaProcesses};
use crate::cluster::stack::{Proxies, Servers};
use crate::scenario::plan::{Injection, part};
use crate::workload::DuplicateMode;
use crate::workload::history::{History, Tally};

/// An order should be on its way by then; where nobody orders any more there is nothing to disturb.
const BUSY_WITHIN: Duration = Duration::from_secs(2);

/// What a fault may see and touch while a cell runs.
#[derive(Debug)]
pub struct FaultContext<'a> {
    /// Every strategy that is attacked, each on SKUs of its own.
    pub targets: &'a [FaultTarget],
    /// How long a lock lives.
    pub lease: Duration,
    /// Inventory's lab.
    pub inventory: &'a LabClient,
    /// Order's lab.
    pub orders: &'a LabClient,
    /// The processes that can be stopped.
    pub controls: &'a ReplicaProcesses,
    /// The servers, where they are ours to break.
    pub servers: Option<&'a Servers>,
    /// A superuser's address of a database, to see to its sessions.
    pub postgres: &'a str,
    /// The snapshot, to see who sold.
    pub auditor: &'a Auditor,
    /// What customers are up to.
    pub duplicates: &'a DuplicateMode,
    /// True once the attack is over.
    pub over: watch::Receiver<bool>,
    /// How the sale goes on.
    pub pace: Pace,
    /// When to strike and whom.
    pub injections: Vec<Injection>,
}

/// One strategy under attack.
#[derive(Debug)]
pub struct FaultTarget {
    /// How stock is guarded.
    pub strategy: Strategy,
    /// What is sold.
    pub skus: Vec<String>,
    /// The clock, and the outcomes so far.
    pub history: Arc<History>,
}

impl FaultTarget {
    /// All that is sold, beginning somewhere: where one SKU sells no more, the next may.
    pub fn skus_from(&self, start: usize) -> impl Iterator<Item = &str> {
        let all = self.skus.len();
        self.skus.iter().cycle().skip(start % all.max(1)).take(all).map(String::as_str)
    }
}

/// What tells how much of a sale is over.
#[derive(Debug, Clone, Copy)]
pub enum Pace {
    /// So many units are sold in each target.
    Stock(u64),
    /// The sale began then and lasts so long.
    Clock(Instant, Duration),
}

/// One strike of a fault.
#[derive(Debug, Clone, Serialize)]
pub struct FaultEvent {
    /// Whose sale was meant; absent where all were.
    pub strategy: Option<Strategy>,
    /// Which process, or which line between two.
    pub replica: String,
    /// Which SKU's sale was meant; empty where all were.
    pub sku: String,
    /// When it began, in milliseconds since the row did.
    pub from_ms: u128,
    /// When it was over.
    pub to_ms: u128,
    /// Whether it did what it is there for; a strike that missed is not counted.
    pub fired: bool,
    /// How the write it interrupted ended: `written`, the code of the refusal; or what was seen; or why it missed.
    pub outcome: String,
    /// Whose write.
    pub order_id: Option<Uuid>,
    /// What that write carried.
    pub fencing_token: Option<i64>,
}

impl FaultEvent {
    /// Whether it counts in the row of this strategy.
    pub fn concerns(&self, strategy: Strategy) -> bool {
        self.strategy.is_none_or(|meant| meant == strategy)
    }
}

impl FaultContext<'_> {
    /// Strikes whenever it is time and orders are on their way, until the sale is over.
    pub(super) async fn each_while_busy(
        &self,
        once: impl AsyncFn(&Injection) -> anyhow::Result<FaultEvent>,
    ) -> anyhow::Result<Vec<FaultEvent>> {
        let mut events = Vec::new();
        for injection in &self.injections {
            if !self.time_for(injection).await || !self.busy().await {
                break;
            }
            events.push(once(injection).await?);
        }
        Ok(events)
    }

    /// Waits until it is time for this strike; `false` if the sale is over before.
    pub(super) async fn time_for(&self, injection: &Injection) -> bool {
        let due = async {
            match self.pace {
                Pace::Stock(stock) => self.sold(part(stock * self.targets.len() as u64, injection.after)).await,
                Pace::Clock(began, window) => sleep_until(began + window.mul_f64(injection.after)).await,
            }
        };
        tokio::select! {
            () = due => !*self.over.borrow(),
            () = self.ended() => false,
        }
    }

    /// Resolves when so many orders were accepted in all targets together.
    async fn sold(&self, count: u64) {
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

    /// Resolves when the attack is over.
    pub(super) async fn ended(&self) {
        // An error means that the cell is being torn down: over as well.
        let _ = self.over.clone().wait_for(|over| *over).await;
    }

    pub(super) fn is_over(&self) -> bool {
        *self.over.borrow()
    }

    pub(super) fn now_ms(&self) -> u128 {
        self.targets.first().map_or(0, |target| target.history.now().as_millis())
    }

    /// The target whose turn it is, if any of those that `fit`.
    pub(super) fn target(&self, injection: &Injection, fit: impl Fn(&FaultTarget) -> bool) -> Option<&FaultTarget> {
        let fitting: Vec<_> = self.targets.iter().filter(|target| fit(target)).collect();
        fitting.get(injection.number % fitting.len().max(1)).copied()
    }

    /// Orders on their way at present, in all targets.
    pub(super) fn in_flight(&self) -> usize {
        self.targets.iter().map(|target| target.history.in_flight()).sum()
    }

    /// Waits until an order is on its way; `false` if none comes.
    pub(super) async fn busy(&self) -> bool {
        let mut invoked: Vec<_> = self.targets.iter().map(|target| target.history.invocations()).collect();
        let busy = async {
            loop {
                for count in &mut invoked {
                    drop(count.borrow_and_update());
                }
                if self.in_flight() > 0 {
                    return;
                }
                let _ =
                    futures_util::future::select_all(invoked.iter_mut().map(|count| Box::pin(count.changed()))).await;
            }
        };
        tokio::select! {
            busy = timeout(BUSY_WITHIN, busy) => busy.is_ok(),
            () = self.ended() => false,
        }
    }

    /// All targets together.
    pub(super) fn tally(&self) -> Tally {
        let mut all = Tally::default();
        for target in self.targets {
            all.add(&target.history.tally().borrow());
        }
        all
    }

    pub(super) fn servers(&self) -> anyhow::Result<&Servers> {
        self.servers.context("the servers are out of reach")
    }

    pub(super) fn proxies(&self) -> anyhow::Result<&Proxies> {
        self.servers()?.proxies.as_ref().context("no proxies stand between the parts of the stack")
    }

    pub(super) fn order(&self, injection: &Injection) -> anyhow::Result<&ReplicaProcess> {
        pick(&self.controls.orders, injection.replica).context("order's processes are out of reach")
    }

    pub(super) fn inventory_replica(&self, injection: &Injection) -> anyhow::Result<&ReplicaProcess> {
        pick(&self.controls.inventory, injection.replica).context("inventory's processes are out of reach")
    }

    /// One strike at everything.
    pub(super) fn events(&self, replica: String, from_ms: u128, fired: bool, outcome: String) -> FaultEvent {
        FaultEvent {
            strategy: None,
            replica,
            sku: String::new(),
            from_ms,
            to_ms: self.now_ms(),
            fired,
            outcome,
            order_id: None,
            fencing_token: None,
        }
    }
}

fn pick<T>(all: &[T], number: usize) -> Option<&T> {
    all.get(number % all.len().max(1))
}
