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
    /// Rows whose strategy promises not to oversell under the fault of the row.
    pub promises_tested: usize,
    /// What a reader should know before quoting the numbers, one sentence each; none of it decides the verdict.
    pub warnings: Vec<Warning>,
}

/// The verdict in one word.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Display, Serialize)]
#[serde(rename_all = "lowercase")]
#[strum(serialize_all = "UPPERCASE")]
pub enum Conclusion {
    /// A strategy oversold where it promises not to, or a rule that it promises to keep does not hold.
    Broken,
    /// The run shows nothing.
    Void,
    /// A strategy promised not to oversell, was tested, and kept the promise.
    Passed,
    /// The run is valid, but no strategy promised anything: it can show overselling, and prove nothing.
    Shown,
}

/// A row whose numbers describe something else than its strategy.
#[derive(Debug, Clone, PartialEq, Eq, Display)]
pub enum Warning {
    /// Customers waited for the machine or for each other most of the time.
    #[strum(to_string = "{row}: the median order took {p50_ms} ms, more than ten payments of {payment_ms} ms, so its \
                         latency is that of a queue")]
    Queued {
        /// The row.
        row: RowName,
        /// Median latency.
        p50_ms: u64,
        /// Duration of a payment.
        payment_ms: u64,
    },
    /// Fewer orders were accepted than ended without a decision.
    #[strum(to_string = "{row}: {undecided} orders ended without a decision, and only {accepted} were accepted")]
    MostlyUndecided {
        /// The row.
        row: RowName,
        /// Orders that were neither accepted nor sold out.
        undecided: u64,
        /// Orders that were accepted.
        accepted: u64,
    },
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

    /// The verdict in one word.
    pub fn conclusion(&self) -> Conclusion {
        match (self.broken_promises.is_empty(), self.valid, self.promises_tested) {
            (false, ..) => Conclusion::Broken,
            (true, false, _) => Conclusion::Void,
            (true, true, 0) => Conclusion::Shown,
            (true, true, _) => Conclusion::Passed,
        }
    }

    /// Exit status of the process: 0 valid and no promise was broken, 1 a promise was broken, 3 void.
    pub fn exit_status(&self) -> u8 {
        match self.conclusion() {
            Conclusion::Passed | Conclusion::Shown => 0,
            Conclusion::Broken => 1,
            Conclusion::Void => 3,
        }
    }

    /// The row was named as a reason why the run is void.
    pub fn is_void(&self, row: RowName) -> bool {
        self.void_reasons.iter().any(|reason| matches!(reason, VoidReason::Row { row: named, .. } if *named == row))
    }

    /// The row broke a promise.
    pub fn is_broken(&self, row: RowName) -> bool {
        self.broken_promises.iter().any(|broken| match broken {
            BrokenPromise::Oversold { row: named, .. } | BrokenPromise::AuditFailed { row: named, .. } => *named == row,
        })
    }
}

/// The sentence.
impl Serialize for Warning {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
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
