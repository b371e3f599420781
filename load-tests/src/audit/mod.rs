//! The auditor: reads the snapshot of both services, and the history of an attack if there is one, and lists what must not be.
//!
//! Invariant: it only reads, and it is asked once nothing is stopped and nothing in flight (`quiescence`).
//! Absence: it trusts no counter, neither the attack's nor a service's.

mod checks;
mod live_stats;
pub mod oversold;
mod quiescence;
mod reader;
mod snapshot;
mod statement;

use std::fmt;

pub use live_stats::LiveStats;
pub use quiescence::{Quiescence, wait_until_quiescent};
pub use reader::{Auditor, Scope};
pub use snapshot::{DbSnapshot, LedgerRow, Order, Refusal, Reservation, ReservationLine, StockRow};
pub use statement::{ItemStatement, Read, State, Statement};

use crate::workload::operation::Operation;

/// So many violations of one item are told one by one; the rest is counted.
const TOLD: usize = 5;

/// Something that must not be, or that could not be decided.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    /// Which of [`ITEMS`].
    pub item: u8,
    /// What was found.
    pub found: String,
}

/// What an audit came to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Findings {
    /// What must not be.
    pub violations: Vec<Violation>,
    /// What a search gave up on. It is no violation, and it is never a pass.
    pub unknown: Vec<Violation>,
}

impl Findings {
    /// Everything was checked, and everything holds.
    pub fn passed(&self) -> bool {
        self.violations.is_empty() && self.unknown.is_empty()
    }

    fn add(&mut self, other: Self) {
        self.violations.extend(other.violations);
        self.unknown.extend(other.unknown);
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.item, self.found)
    }
}

/// One thing that is checked.
#[derive(Debug, Clone, Copy)]
pub struct Item {
    /// Its number in reports. 11, whether the run could have shown anything, is the verdict's.
    pub number: u8,
    /// What has to hold.
    pub rule: &'static str,
    /// It is about stock, which a strategy without a promise is expected to spoil. The others hold for every strategy.
    pub about_stock: bool,
    /// It compares the snapshot with what customers asked and heard, so it needs a history.
    pub needs_history: bool,
    check: Check,
}

/// How it is checked.
#[derive(Debug, Clone, Copy)]
enum Check {
    /// Always decided.
    Exact(fn(&Evidence<'_>) -> Vec<String>),
    /// It may come to a search that gives up.
    Search(fn(&Evidence<'_>) -> checks::CheckResult),
}

/// What the checks look at.
#[derive(Debug, Clone, Copy)]
pub struct Evidence<'a> {
    /// Both databases.
    pub snapshot: &'a DbSnapshot,
    /// What the attack asked and heard; absent when somebody else's databases are audited.
    pub history: Option<&'a [Operation]>,
}

/// Everything the auditor checks.
pub const ITEMS: [Item; 10] = [
    Item {
        number: 1,
        rule: "live units never exceed the units there are, per SKU",
        about_stock: true,
        needs_history: false,
        check: Check::Exact(checks::stock::live_units_exist),
    },
    Item {
        number: 2,
        rule: "available = on hand − live units, and the ledger agrees",
        about_stock: true,
        needs_history: false,
        check: Check::Exact(checks::stock::available_adds_up),
    },
    Item {
        number: 3,
        rule: "0 ≤ available ≤ on hand",
        about_stock: true,
        needs_history: false,
        check: Check::Exact(checks::stock::available_within_bounds),
    },
    Item {
        number: 4,
        rule: "one reservation per order, one order per idempotency key",
        about_stock: false,
        needs_history: false,
        check: Check::Exact(checks::orders::one_of_each),
    },
    Item {
        number: 5,
        rule: "fences never decrease along the ledger, and one fence is one transaction",
        about_stock: true,
        needs_history: false,
        check: Check::Exact(checks::ledger::fences_never_decrease),
    },
    Item {
        number: 6,
        rule: "the ledger chains: before = the previous after, after = before + delta",
        about_stock: true,
        needs_history: false,
        check: Check::Exact(checks::ledger::chains),
    },
    Item {
        number: 7,
        rule: "the snapshot agree with every answer that was given, and with nothing else",
        about_stock: false,
        needs_history: true,
        check: Check::Exact(checks::answers::agree_with_the_books),
    },
    Item {
        number: 8,
        rule: "an order is confirmed if and only if its reservation is",
        about_stock: false,
        needs_history: false,
        check: Check::Exact(checks::orders::confirmed_together),
    },
    Item {
        number: 9,
        rule: "every \"sold out\" was justified by what was asked before it",
        about_stock: true,
        needs_history: true,
        check: Check::Search(checks::sold_out::was_justified),
    },
    Item {
        number: 10,
        rule: "every payment is captured or voided, and captured if and only if the order stands",
        about_stock: false,
        needs_history: false,
        check: Check::Exact(checks::orders::payments_settled),
    },
];

/// Checks everything.
pub fn audit(evidence: &Evidence<'_>) -> Findings {
    let mut findings = Findings::default();
    for item in &ITEMS {
        findings.add(item.findings(evidence));
    }
    findings
}

impl Item {
    fn findings(&self, evidence: &Evidence<'_>) -> Findings {
        let (found, unknown) = match self.check {
            Check::Exact(check) => (check(evidence), Vec::new()),
            Check::Search(check) => {
                let judged = check(evidence);
                (judged.found, judged.unknown)
            }
        };
        Findings { violations: self.told(found), unknown: self.told(unknown) }
    }

    fn told(&self, mut found: Vec<String>) -> Vec<Violation> {
        if found.len() > TOLD {
            let more = found.len() - TOLD;
            found.truncate(TOLD);
            found.push(format!("and {more} more like these"));
        }
        found.into_iter().map(|found| Violation { item: self.number, found }).collect()
    }
}
