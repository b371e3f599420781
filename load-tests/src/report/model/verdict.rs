//! The verdict as data: why a run is void, and which promises were broken. `Display` makes the sentences, without their
//! full stop.

use serde::{Serialize, Serializer};
use strum::Display;

use super::run::RowName;
use crate::audit::{Item, Undecided, Unsettled, Violation};
use crate::faults::Fault;

/// What the rows of a run mean together.
#[derive(Debug, Clone, Serialize, PartialEq)]
pub struct Verdict {
    /// Every row could show overselling, and showed what it is there to show.
    pub valid: bool,
    /// Why the run is void, one sentence each; empty if it is valid.
    pub void_reasons: Vec<VoidReason>,
    /// 1 − oversold by the worst strategy that promises never to oversell / oversold by `off` without a fault, in percent;
    /// absent without such rows.
    pub error_reduction_percent: Option<f64>,
    /// Promises that were broken, one sentence each.
    pub broken_promises: Vec<BrokenPromise>,
}

/// Why a run is void.
#[derive(Debug, Clone, PartialEq, Eq, Display)]
pub enum VoidReason {
    /// A signal ended it early.
    #[strum(to_string = "the run was interrupted by {0}")]
    Interrupted(&'static str),
    /// It has no row.
    #[strum(to_string = "no row was run")]
    NoRow,
    /// The rows under this fault could not be run.
    #[strum(to_string = "the rows under {fault} could not be run: {error}")]
    CellFailed {
        /// The fault of the cell.
        fault: Fault,
        /// The chain of errors.
        error: String,
    },
    /// A row could not have shown overselling, or did not show what it is there to show.
    #[strum(to_string = "{row}: {reason}")]
    Row {
        /// The row.
        row: RowName,
        /// Why it shows nothing.
        reason: RowVoid,
    },
}

/// Why a row is void.
#[derive(Debug, Clone, PartialEq, Eq, Display)]
#[expect(missing_docs, reason = "each sentence names the fields of its variant")]
pub enum RowVoid {
    /// It was cut short.
    #[strum(to_string = "{attempts} of {planned} orders were placed")]
    OrdersMissing { attempts: u64, planned: u64 },
    /// Demand was too low to show overselling.
    #[strum(to_string = "{attempts} orders for {stock} units are too few, {needed} are needed")]
    TooFewOrders { attempts: u64, stock: u64, needed: u64 },
    /// Units were left over.
    #[strum(to_string = "{sold_out} of {skus} SKUs sold out")]
    NotSoldOut { sold_out: usize, skus: usize },
    /// Without a lock, less than the stock was oversold.
    #[strum(to_string = "{oversold} of {stock} units oversold is less than the stock, so the load was too light")]
    LoadTooLight { oversold: u64, stock: u64 },
    /// No injection of the fault took effect.
    #[strum(to_string = "the fault never fired")]
    FaultNeverFired,
    /// The fault made no write stale.
    #[strum(to_string = "no write of a paused replica was refused, so the fence was not tested")]
    FenceNotTested,
    /// Theory requires overselling, and nothing was oversold.
    #[strum(to_string = "nothing was oversold, so the fault was too mild")]
    FaultTooMild,
    /// The audit did not decide an item.
    #[strum(to_string = "the audit could not decide item {item}: {undecided}")]
    Undecided { item: Item, undecided: Undecided },
    /// The databases could still change during the audit.
    #[strum(to_string = "it was audited although {0}")]
    Unsettled(Unsettled),
}

/// A promise that a strategy broke.
#[derive(Debug, Clone, PartialEq, Eq, Display)]
pub enum BrokenPromise {
    /// It oversold where it promises not to.
    #[strum(to_string = "{row} oversold {units} units")]
    Oversold {
        /// The row.
        row: RowName,
        /// Units oversold.
        units: u64,
    },
    /// A rule that it promises to keep does not hold.
    #[strum(to_string = "{row} failed the audit, item {item}: {violation}")]
    AuditFailed {
        /// The row.
        row: RowName,
        /// The first such rule.
        item: Item,
        /// What shows it.
        violation: Violation,
    },
}

impl Verdict {
    /// The same, void for these reasons as well.
    #[must_use]
    pub fn also_void(mut self, reasons: Vec<VoidReason>) -> Self {
        self.valid &= reasons.is_empty();
        self.void_reasons.extend(reasons);
        self
    }

    /// Exit status of the process: 0 valid and every promise kept, 1 a promise was broken, 3 void.
    pub fn exit_status(&self) -> u8 {
        match (self.broken_promises.is_empty(), self.valid) {
            (false, _) => 1,
            (true, true) => 0,
            (true, false) => 3,
        }
    }
}

/// The sentence.
impl Serialize for VoidReason {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// The sentence.
impl Serialize for BrokenPromise {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}
