//! What a fault may see and touch while a cell runs, and what it tells of each strike.
//!
//! Absence: no fault of its own. What several faults do to learn the same thing is here, once.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use serde::Serialize;
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until, timeout};
use uuid::Uuid;

use crate::audit::Auditor;
use crate::cluster::control::{Control, Controls};
use crate::cluster::lab_client::Replicas;
use crate::cluster::stack::{Routes, Yard};
use crate::scenario::plan::{Strike, part};
use crate::scenario::strategy::Strategy;
use crate::workload::Mischief;
use crate::workload::history::{History, Tally};

/// An order should be on its way by then; where nobody orders any more there is nothing to disturb.
const BUSY_WITHIN: Duration = Duration::from_secs(2);

/// What a fault may see and touch while a cell runs.
#[derive(Debug)]
pub struct Field<'a> {
    /// Every strategy that is attacked, each on SKUs of its own.
    pub lanes: &'a [LaneField],
    /// How long a lock lives.
    pub lease: Duration,
    /// Inventory's lab.
    pub inventory: &'a Replicas,
    /// Order's lab.
    pub orders: &'a Replicas,
    /// The processes that can be stopped.
    pub controls: &'a Controls,
    /// The servers, where they are ours to break.
    pub yard: Option<&'a Yard>,
    /// A superuser's address of a database, to see to its sessions.
    pub postgres: &'a str,
    /// The books, to see who sold.
    pub auditor: &'a Auditor,
    /// What customers are up to.
    pub mischief: &'a Mischief,
    /// True once the attack is over.
    pub over: watch::Receiver<bool>,
    /// How the sale goes on.
    pub pace: Pace,
    /// When to strike and whom.
    pub strikes: Vec<Strike>,
}

/// One strategy under attack.
#[derive(Debug)]
pub struct LaneField {
    /// How stock is guarded.
    pub strategy: Strategy,
    /// What is sold.
    pub skus: Vec<String>,
    /// The clock, and the outcomes so far.
    pub history: Arc<History>,
}

impl LaneField {
    /// All that is sold, beginning somewhere: where one SKU sells no more, the next may.
    pub fn skus_from(&self, start: usize) -> impl Iterator<Item = &str> {
        let all = self.skus.len();
        self.skus.iter().cycle().skip(start % all.max(1)).take(all).map(String::as_str)
    }
}

/// What tells how much of a sale is over.
#[derive(Debug, Clone, Copy)]
pub enum Pace {
    /// So many units are sold in each lane.
    Stock(u64),
    /// The sale began then and lasts so long.
    Clock(Instant, Duration),
}

/// One strike of a fault.
#[derive(Debug, Clone, Serialize)]
pub struct Struck {
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

impl Struck {
    /// Whether it counts in the row of this strategy.
    pub fn concerns(&self, strategy: Strategy) -> bool {
        self.strategy.is_none_or(|meant| meant == strategy)
    }
}

impl Field<'_> {
    /// Strikes whenever it is time and orders are on their way, until the sale is over.
    pub(super) async fn each_while_busy(
        &self,
        once: impl AsyncFn(&Strike) -> anyhow::Result<Struck>,
    ) -> anyhow::Result<Vec<Struck>> {
        let mut struck = Vec::new();
        for strike in &self.strikes {
            if !self.time_for(strike).await || !self.busy().await {
                break;
            }
            struck.push(once(strike).await?);
        }
        Ok(struck)
    }

    /// Waits until it is time for this strike; `false` if the sale is over before.
    pub(super) async fn time_for(&self, strike: &Strike) -> bool {
        let due = async {
            match self.pace {
                Pace::Stock(stock) => self.sold(part(stock * self.lanes.len() as u64, strike.after)).await,
                Pace::Clock(began, window) => sleep_until(began + window.mul_f64(strike.after)).await,
            }
        };
        tokio::select! {
            () = due => !*self.over.borrow(),
            () = self.ended() => false,
        }
    }

    /// Resolves when so many orders were accepted in all lanes together.
    async fn sold(&self, count: u64) {
        let mut tallies: Vec<_> = self.lanes.iter().map(|lane| lane.history.tally()).collect();
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
        self.lanes.first().map_or(0, |lane| lane.history.now().as_millis())
    }

    /// The lane whose turn it is, if any of those that `fit`.
    pub(super) fn lane(&self, strike: &Strike, fit: impl Fn(&LaneField) -> bool) -> Option<&LaneField> {
        let fitting: Vec<_> = self.lanes.iter().filter(|lane| fit(lane)).collect();
        fitting.get(strike.number % fitting.len().max(1)).copied()
    }

    /// Orders on their way at present, in all lanes.
    pub(super) fn in_flight(&self) -> usize {
        self.lanes.iter().map(|lane| lane.history.in_flight()).sum()
    }

    /// Waits until an order is on its way; `false` if none comes.
    pub(super) async fn busy(&self) -> bool {
        let mut invoked: Vec<_> = self.lanes.iter().map(|lane| lane.history.invocations()).collect();
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

    /// All lanes together.
    pub(super) fn tally(&self) -> Tally {
        let mut all = Tally::default();
        for lane in self.lanes {
            all.add(&lane.history.tally().borrow());
        }
        all
    }

    pub(super) fn yard(&self) -> anyhow::Result<&Yard> {
        self.yard.context("the servers are out of reach")
    }

    pub(super) fn routes(&self) -> anyhow::Result<&Routes> {
        self.yard()?.routes.as_ref().context("no proxies stand between the parts of the stack")
    }

    pub(super) fn order(&self, strike: &Strike) -> anyhow::Result<&Control> {
        pick(&self.controls.orders, strike.replica).context("order's processes are out of reach")
    }

    pub(super) fn inventory_replica(&self, strike: &Strike) -> anyhow::Result<&Control> {
        pick(&self.controls.inventory, strike.replica).context("inventory's processes are out of reach")
    }

    /// One strike at everything.
    pub(super) fn struck(&self, replica: String, from_ms: u128, fired: bool, outcome: String) -> Struck {
        Struck {
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
