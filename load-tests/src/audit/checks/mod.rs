//! The checks of the audit, one function per rule, over data that was read before. No I/O; a clock only where a search
//! gives up.

mod answers;
mod ledger;
mod orders;
mod search;
mod sold_out;
mod stock;

#[cfg(test)]
mod corruption;

use strum::VariantArray as _;

use super::evidence::Evidence;
use super::item::Item;
use super::violation::Findings;

/// Checks every item.
pub fn audit(evidence: &Evidence<'_>) -> Findings {
    let mut findings = Findings::default();
    for &item in Item::VARIANTS {
        findings.add(check(item, evidence));
    }
    findings
}

/// Checks one item.
pub(super) fn check(item: Item, evidence: &Evidence<'_>) -> Findings {
    let exact = |check: fn(&Evidence<'_>) -> Vec<_>| Findings::of(item, check(evidence), Vec::new());
    match item {
        Item::LiveUnitsExist => exact(stock::live_units_exist),
        Item::AvailableAddsUp => exact(stock::available_adds_up),
        Item::AvailableWithinBounds => exact(stock::available_within_bounds),
        Item::OneOfEach => exact(orders::one_of_each),
        Item::FencesNeverDecrease => exact(ledger::fences_never_decrease),
        Item::LedgerChains => exact(ledger::chains),
        Item::AnswersAgree => exact(answers::agree_with_the_databases),
        Item::ConfirmedTogether => exact(orders::confirmed_together),
        Item::SoldOutJustified => {
            let (violations, undecided) = sold_out::is_justified(evidence);
            Findings::of(item, violations, undecided)
        }
        Item::PaymentsSettled => exact(orders::payments_settled),
    }
}
