//! The items of the audit: what has to hold, by the number that reports use.
//!
//! Absence: nothing is checked here; `checks` does that.

use std::fmt;

use serde::{Serialize, Serializer};
use strum::VariantArray;

/// A rule that the auditor checks. Item 11, whether a run could have shown overselling at all, is decided by the verdict.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, VariantArray)]
#[repr(u8)]
pub enum Item {
    /// Live units do not exceed the units in stock.
    LiveUnitsExist = 1,
    /// `available` is the stock without the live units, and the ledger agrees.
    AvailableAddsUp = 2,
    /// `available` is between 0 and the stock.
    AvailableWithinBounds = 3,
    /// One reservation per order, one order per idempotency key.
    OneOfEach = 4,
    /// Fences never decrease along the ledger.
    FencesNeverDecrease = 5,
    /// Every row of the ledger begins where the row before it ended.
    LedgerChains = 6,
    /// The databases agree with every answer.
    AnswersAgree = 7,
    /// An order is confirmed if and only if its reservation is.
    ConfirmedTogether = 8,
    /// Every "sold out" is justified by the requests before it.
    SoldOutJustified = 9,
    /// Every payment is captured or voided, as its order requires.
    PaymentsSettled = 10,
}

impl Item {
    /// The number in reports.
    pub const fn number(self) -> u8 {
        self as u8
    }

    /// What has to hold.
    pub const fn rule(self) -> &'static str {
        match self {
            Self::LiveUnitsExist => "live units never exceed the units in stock, per SKU",
            Self::AvailableAddsUp => "available = on hand − live units, and the ledger agrees",
            Self::AvailableWithinBounds => "0 ≤ available ≤ on hand",
            Self::OneOfEach => "one reservation per order, one order per idempotency key",
            Self::FencesNeverDecrease => {
                "fences never decrease along the ledger, and each fence belongs to one transaction"
            }
            Self::LedgerChains => "the ledger chains: before = the previous after, after = before + delta",
            Self::AnswersAgree => "the databases agree with every answer, and hold nothing that was not requested",
            Self::ConfirmedTogether => "an order is confirmed if and only if its reservation is",
            Self::SoldOutJustified => "every \"sold out\" is justified by the requests before it",
            Self::PaymentsSettled => {
                "every payment is captured or voided, and captured if and only if the order is live"
            }
        }
    }

    /// The rule is about stock, which a strategy without a promise is expected to corrupt. The other rules hold for every
    /// strategy.
    pub const fn about_stock(self) -> bool {
        match self {
            Self::LiveUnitsExist
            | Self::AvailableAddsUp
            | Self::AvailableWithinBounds
            | Self::FencesNeverDecrease
            | Self::LedgerChains
            | Self::SoldOutJustified => true,
            Self::OneOfEach | Self::AnswersAgree | Self::ConfirmedTogether | Self::PaymentsSettled => false,
        }
    }

    /// The rule compares the databases with requests and answers, so it is checked only where a history exists.
    pub const fn needs_history(self) -> bool {
        matches!(self, Self::AnswersAgree | Self::SoldOutJustified)
    }
}

/// The number.
impl fmt::Display for Item {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.number().fmt(f)
    }
}

/// The number.
impl Serialize for Item {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_u8(self.number())
    }
}
