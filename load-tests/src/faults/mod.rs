//! What can go wrong while orders are placed. A fault is one file here and one line in each match.
//!
//! Invariant: a fault counts as fired only if it really struck, and whatever it stopped runs again when it returns.
//! Absence: no fault decides whether a row is valid; `verdict` does.

mod pause_inventory;
mod pause_order;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use clap::ValueEnum;
use serde::Serialize;
use tokio::sync::watch;
use uuid::Uuid;

use crate::audit::Auditor;
use crate::control::Controls;
use crate::history::{History, Tally};
use crate::inventory::Inventory;
use crate::plan::Strike;
use crate::strategy::Strategy;

/// A fault, as `--faults` spells it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, ValueEnum, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Fault {
    /// Nothing goes wrong
    None,
    /// An inventory replica stops as it enters a write, until the lease has lapsed and somebody else has sold
    PauseInventory,
    /// An order replica that holds the lock is stopped for longer than the lease
    PauseOrder,
}

impl Fault {
    /// As in reports.
    pub const fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::PauseInventory => "pause-inventory",
            Self::PauseOrder => "pause-order",
        }
    }

    /// It stops processes, so they have to be on this machine.
    pub const fn needs_processes(self) -> bool {
        match self {
            Self::None => false,
            Self::PauseInventory | Self::PauseOrder => true,
        }
    }

    /// A stale write must reach the storage, so a fenced strategy has something to refuse. A paused order replica looks
    /// at its lease right before the write and mostly does not send it.
    pub const fn makes_writes_stale(self) -> bool {
        matches!(self, Self::PauseInventory)
    }

    /// Strikes again and again until the sale is over.
    ///
    /// # Errors
    /// The fault could not be injected at all. That a single strike missed is told in the result.
    pub async fn strike(self, field: &Field<'_>) -> anyhow::Result<Vec<Struck>> {
        match self {
            Self::None => Ok(Vec::new()),
            Self::PauseInventory => pause_inventory::strike(field).await,
            Self::PauseOrder => pause_order::strike(field).await,
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// What a fault may see and touch while a row runs.
#[derive(Debug)]
pub struct Field<'a> {
    /// How stock is guarded in this row.
    pub strategy: Strategy,
    /// What is sold in this row.
    pub skus: &'a [String],
    /// How long a lock lives.
    pub lease: Duration,
    /// Inventory's lab.
    pub inventory: &'a Inventory,
    /// The processes that can be stopped.
    pub controls: &'a Controls,
    /// The lock nodes, where they are ours to ask.
    pub redis: &'a [testbed::RedisNode],
    /// The ledger, to see who sold.
    pub auditor: &'a Auditor,
    /// The clock, and the outcomes so far.
    pub history: &'a Arc<History>,
    /// True once the attack is over.
    pub over: watch::Receiver<bool>,
    /// When to strike and whom.
    pub strikes: Vec<Strike>,
}

/// One strike of a fault.
#[derive(Debug, Clone, Serialize)]
pub struct Struck {
    /// Which process.
    pub replica: String,
    /// Which SKU's sale was meant.
    pub sku: String,
    /// When it stopped, in milliseconds since the row began.
    pub from_ms: u128,
    /// When it was continued.
    pub to_ms: u128,
    /// Whether it did what it is there for; a strike that missed is not counted.
    pub fired: bool,
    /// How the write it interrupted ended: `written`, the code of the refusal, or why the strike missed.
    pub outcome: String,
    /// Whose write.
    pub order_id: Option<Uuid>,
    /// What that write carried.
    pub fencing_token: Option<i64>,
}

impl Field<'_> {
    /// Waits until it is time for this strike; `false` if the sale is over before.
    async fn time_for(&self, strike: &Strike) -> bool {
        let mut tally = self.history.tally();
        let enough = |tally: &Tally| tally.accepted >= strike.after_accepted;
        tokio::select! {
            reached = tally.wait_for(enough) => reached.is_ok(),
            () = self.ended() => false,
        }
    }

    /// Resolves when the attack is over.
    async fn ended(&self) {
        // An error means that the row is being torn down: over as well.
        let _ = self.over.clone().wait_for(|over| *over).await;
    }

    fn now_ms(&self) -> u128 {
        self.history.now().as_millis()
    }

    fn sku(&self, strike: &Strike) -> &str {
        &self.skus[strike.sku % self.skus.len()]
    }
}
