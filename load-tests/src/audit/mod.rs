//! The auditor: reads the books of both services, and the history of an attack if there is one, and lists what must not be.
//!
//! Invariant: it only reads, and it is asked once nothing is stopped and nothing in flight (`quiet`).
//! Absence: it trusts no counter, neither the attack's nor a service's.

mod books;
mod checks;
mod quiet;
mod read;

use std::fmt;

pub use books::{Books, LedgerRow, Order, Refusal, Reservation, ReservationLine, StockRow};
pub use quiet::{Quiet, until_quiet};
pub use read::{Auditor, Scope};

use crate::history::Operation;

/// So many violations of one item are told one by one; the rest is counted.
const TOLD: usize = 5;

/// Something that must not be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    /// Which of [`ITEMS`].
    pub item: u8,
    /// What was found.
    pub found: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.item, self.found)
    }
}

/// One thing that is checked.
#[derive(Debug, Clone, Copy)]
pub struct Item {
    /// Its number in reports. 9, whether every "sold out" was justified, is not checked yet; 11 is the verdict's.
    pub number: u8,
    /// What has to hold.
    pub rule: &'static str,
    /// It is about stock, which a strategy without a promise is expected to spoil. The others hold for every strategy.
    pub about_stock: bool,
    check: fn(&Evidence<'_>) -> Vec<String>,
}

/// What the checks look at.
#[derive(Debug, Clone, Copy)]
pub struct Evidence<'a> {
    /// Both databases.
    pub books: &'a Books,
    /// What the attack asked and heard; absent when somebody else's databases are audited.
    pub history: Option<&'a [Operation]>,
}

/// Everything the auditor checks.
pub const ITEMS: [Item; 9] = [
    Item {
        number: 1,
        rule: "live units never exceed the units there are, per SKU",
        about_stock: true,
        check: checks::stock::live_units_exist,
    },
    Item {
        number: 2,
        rule: "available = on hand − live units, and the ledger agrees",
        about_stock: true,
        check: checks::stock::available_adds_up,
    },
    Item {
        number: 3,
        rule: "0 ≤ available ≤ on hand",
        about_stock: true,
        check: checks::stock::available_within_bounds,
    },
    Item {
        number: 4,
        rule: "one reservation per order, one order per idempotency key",
        about_stock: false,
        check: checks::orders::one_of_each,
    },
    Item {
        number: 5,
        rule: "fences never decrease along the ledger, and one fence is one transaction",
        about_stock: true,
        check: checks::ledger::fences_never_decrease,
    },
    Item {
        number: 6,
        rule: "the ledger chains: before = the previous after, after = before + delta",
        about_stock: true,
        check: checks::ledger::chains,
    },
    Item {
        number: 7,
        rule: "the books agree with every answer that was given, and with nothing else",
        about_stock: false,
        check: checks::answers::agree_with_the_books,
    },
    Item {
        number: 8,
        rule: "an order is confirmed if and only if its reservation is",
        about_stock: false,
        check: checks::orders::confirmed_together,
    },
    Item {
        number: 10,
        rule: "every payment is captured or voided, and captured if and only if the order stands",
        about_stock: false,
        check: checks::orders::payments_settled,
    },
];

/// Checks everything.
pub fn audit(evidence: &Evidence<'_>) -> Vec<Violation> {
    ITEMS.iter().flat_map(|item| item.violations(evidence)).collect()
}

impl Item {
    fn violations(&self, evidence: &Evidence<'_>) -> Vec<Violation> {
        let mut found = (self.check)(evidence);
        if found.len() > TOLD {
            let more = found.len() - TOLD;
            found.truncate(TOLD);
            found.push(format!("and {more} more like these"));
        }
        found.into_iter().map(|found| Violation { item: self.number, found }).collect()
    }
}

/// Whether a strategy that promises nothing about stock may break this item.
pub fn is_about_stock(violation: &Violation) -> bool {
    ITEMS.iter().any(|item| item.number == violation.item && item.about_stock)
}
