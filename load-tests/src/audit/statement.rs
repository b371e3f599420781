//! The result of an audit of whole databases, item by item: the same for a terminal and over HTTP.
//!
//! Invariant: it passed only if no rule is broken and none undecided. A rule that needs a history is reported as *not
//! checked* where none was given.

use std::collections::BTreeSet;
use std::fmt;
use std::path::PathBuf;

use anyhow::Context as _;
use serde::Serialize;
use strum::VariantArray as _;

use super::checks::check;
use super::evidence::Evidence;
use super::item::Item;
use super::reader::{Auditor, Scope};
use super::violation::{Findings, Undecided, Violation};
use crate::bad_usage::BadUsage;
use crate::workload::history_file;

/// The result of an audit.
#[derive(Debug, Clone, Serialize)]
pub struct Statement {
    /// No rule is broken, and none undecided.
    pub passed: bool,
    /// How many rows were read.
    pub read: RowCounts,
    /// Every item, by number.
    pub items: Vec<ItemStatement>,
}

/// How many rows an audit read.
#[derive(Debug, Clone, Copy, Default, Serialize)]
pub struct RowCounts {
    /// Rows of `stock`.
    pub skus: usize,
    /// Rows of `stock_ledger`.
    pub ledger_rows: usize,
    /// Reservations.
    pub reservations: usize,
    /// Orders.
    pub orders: usize,
    /// Requests in the histories.
    pub requests: usize,
}

/// One item.
#[derive(Debug, Clone, Serialize)]
pub struct ItemStatement {
    /// Its number.
    pub item: Item,
    /// What has to hold.
    pub rule: &'static str,
    /// Whether it holds.
    pub state: ItemState,
    /// One sentence per violation, or per SKU that was not decided.
    pub found: Vec<String>,
}

/// Whether an item holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ItemState {
    /// It holds.
    Holds,
    /// It does not hold.
    Broken,
    /// A search gave up, so it is not known whether it holds.
    Undecided,
    /// It needs the history of an attack, and none was given.
    NotChecked,
}

impl Statement {
    /// Reads both databases and the histories of attacks on them, and checks every item. Call it when nothing is in
    /// flight.
    ///
    /// # Errors
    /// A database cannot be read, or a file is not a history.
    pub async fn take(auditor: &Auditor, histories: &[PathBuf]) -> anyhow::Result<Self> {
        let snapshot = auditor.read(&Scope::Everything).await?;
        let mut read = RowCounts {
            skus: snapshot.stock.len(),
            ledger_rows: snapshot.ledger.len(),
            reservations: snapshot.reservations.len(),
            orders: snapshot.orders.len(),
            requests: 0,
        };
        let mut findings = Findings::default();
        for &item in Item::VARIANTS.iter().filter(|item| !item.needs_history()) {
            findings.add(check(item, &Evidence { snapshot: &snapshot, history: None }));
        }
        for path in histories {
            let history = history_file::read(path)
                .with_context(|| BadUsage(format!("--history: {} cannot be read", path.display())))?;
            read.requests += history.len();
            // A history is judged against the orders of its own SKUs: other orders belong to other histories.
            let skus: BTreeSet<_> = history.iter().map(|operation| operation.invocation.sku.clone()).collect();
            let snapshot = auditor.read(&Scope::Skus(skus.into_iter().collect())).await?;
            for &item in Item::VARIANTS.iter().filter(|item| item.needs_history()) {
                findings.add(check(item, &Evidence { snapshot: &snapshot, history: Some(&history) }));
            }
        }
        Ok(Self::of(&findings, read, !histories.is_empty()))
    }

    /// A rule is broken, even if others are undecided.
    pub fn is_broken(&self) -> bool {
        self.items.iter().any(|item| item.state == ItemState::Broken)
    }

    fn of(findings: &Findings, read: RowCounts, with_history: bool) -> Self {
        let items = Item::VARIANTS.iter().map(|&item| ItemStatement::of(item, findings, with_history)).collect();
        Self { passed: findings.passed(), read, items }
    }
}

impl ItemStatement {
    fn of(item: Item, findings: &Findings, with_history: bool) -> Self {
        let broken = findings.violations.iter().filter(|violation| violation.item() == item);
        let broken: Vec<_> = broken.map(Violation::to_string).collect();
        let undecided = findings.undecided.iter().filter(|undecided| undecided.item() == item);
        let undecided: Vec<_> = undecided.map(Undecided::to_string).collect();
        let state = match (broken.is_empty(), undecided.is_empty()) {
            (false, _) => ItemState::Broken,
            (true, false) => ItemState::Undecided,
            (true, true) if item.needs_history() && !with_history => ItemState::NotChecked,
            (true, true) => ItemState::Holds,
        };
        Self { item, rule: item.rule(), state, found: [broken, undecided].concat() }
    }
}

impl fmt::Display for ItemState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Holds => "ok",
            Self::Broken => "BROKEN",
            Self::Undecided => "UNDECIDED",
            Self::NotChecked => "not checked",
        })
    }
}

impl fmt::Display for Statement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let RowCounts { skus, ledger_rows, reservations, orders, requests } = self.read;
        writeln!(f, "{skus} SKUs, {ledger_rows} ledger rows, {reservations} reservations, {orders} orders")?;
        if requests > 0 {
            writeln!(f, "{requests} requests in the histories")?;
        }
        for item in &self.items {
            writeln!(f, "{:<12}{:>2}. {}", item.state, item.item, item.rule)?;
        }
        if self.items.iter().any(|item| item.state == ItemState::NotChecked) {
            writeln!(f, "Items that are not checked need the history of the attack: --history FILE")?;
        }
        for item in &self.items {
            for found in &item.found {
                writeln!(f, "item {}: {found}", item.item)?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn state_of(findings: &Findings, with_history: bool, item: Item) -> (bool, ItemState) {
        let statement = Statement::of(findings, RowCounts::default(), with_history);
        let found = statement.items.iter().find(|found| found.item == item).expect("every item is stated");
        (statement.passed, found.state)
    }

    #[test]
    fn undecided_is_neither_a_pass_nor_a_violation() {
        let undecided = vec![Undecided::SearchGaveUp { sku: "a".into() }];
        let findings = Findings { undecided, ..Findings::default() };
        assert_eq!(state_of(&findings, true, Item::SoldOutJustified), (false, ItemState::Undecided));
        assert_eq!(state_of(&findings, true, Item::AnswersAgree), (false, ItemState::Holds));
    }

    #[test]
    fn an_item_that_needs_a_history_is_not_checked_without_one() {
        let fine = Findings::default();
        for (with_history, state) in [(false, ItemState::NotChecked), (true, ItemState::Holds)] {
            assert_eq!(state_of(&fine, with_history, Item::AnswersAgree), (true, state));
            assert_eq!(state_of(&fine, with_history, Item::SoldOutJustified), (true, state));
        }
        assert_eq!(state_of(&fine, false, Item::LiveUnitsExist), (true, ItemState::Holds));
    }

    #[test]
    fn a_statement_lists_every_item_and_then_every_violation() {
        let statement = Statement::of(
            &Findings {
                violations: vec![Violation::LiveUnitsExceedStock { sku: "chair".into(), live: 9, on_hand: 5 }],
                undecided: vec![Undecided::SearchGaveUp { sku: "table".into() }],
            },
            RowCounts { skus: 2, ledger_rows: 16, reservations: 9, orders: 20, requests: 20 },
            true,
        );
        insta::assert_snapshot!(statement);
    }
}
