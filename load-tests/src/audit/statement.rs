//! What an audit of a whole stack comes to, item by item: the same for a terminal and over HTTP.
//!
//! Invariant: it passed only if nothing is broken and nothing unknown. What needs a history and has none is *not
//! checked*, and said to be.

use std::collections::BTreeSet;
use std::fmt;
use std::path::PathBuf;

use anyhow::Context as _;
use serde::Serialize;

use super::{Auditor, Evidence, Findings, ITEMS, Item, Scope};
use crate::workload::history_file;

/// The whole audit.
#[derive(Debug, Clone, Serialize)]
pub struct Statement {
    /// Nothing is broken, nothing unknown.
    pub passed: bool,
    /// How much was looked at.
    pub read: Read,
    /// Every item, in order.
    pub items: Vec<ItemStatement>,
}

/// How much was looked at.
#[derive(Debug, Clone, Copy, Default, Serialize)]
pub struct Read {
    /// Rows of `stock`.
    pub skus: usize,
    /// Rows of the ledger.
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
    pub item: u8,
    /// What has to hold.
    pub rule: &'static str,
    /// Whether it does.
    pub state: State,
    /// What was found, or could not be decided.
    pub found: Vec<String>,
}

/// Whether an item holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// It does.
    Holds,
    /// It does not.
    Broken,
    /// A search gave up.
    Unknown,
    /// It needs the history of an attack.
    NotChecked,
}

impl Statement {
    /// Reads both databases and the histories of attacks on them, and checks everything. Ask when nothing is in flight.
    ///
    /// # Errors
    /// A database cannot be read, or a file is no history.
    pub async fn take(auditor: &Auditor, histories: &[PathBuf]) -> anyhow::Result<Self> {
        let snapshot = auditor.read(&Scope::Everything).await?;
        let mut read = Read {
            skus: snapshot.stock.len(),
            ledger_rows: snapshot.ledger.len(),
            reservations: snapshot.reservations.len(),
            orders: snapshot.orders.len(),
            requests: 0,
        };
        let mut findings = Findings::default();
        for item in ITEMS.iter().filter(|item| !item.needs_history) {
            findings.add(item.findings(&Evidence { snapshot: &snapshot, history: None }));
        }
        for path in histories {
            let history = history_file::read(path).with_context(|| format!("{} cannot be read", path.display()))?;
            read.requests += history.len();
            // A row of an experiment has SKUs of its own; others' orders are no business of its customers.
            let skus: BTreeSet<_> = history.iter().map(|operation| operation.invocation.sku.clone()).collect();
            let snapshot = auditor.read(&Scope::Skus(skus.into_iter().collect())).await?;
            for item in ITEMS.iter().filter(|item| item.needs_history) {
                findings.add(item.findings(&Evidence { snapshot: &snapshot, history: Some(&history) }));
            }
        }
        Ok(Self::of(&findings, read, !histories.is_empty()))
    }

    /// Something must not be, whatever else is unknown.
    pub fn is_broken(&self) -> bool {
        self.items.iter().any(|item| item.state == State::Broken)
    }

    fn of(findings: &Findings, read: Read, with_history: bool) -> Self {
        let items = ITEMS.iter().map(|item| ItemStatement::of(item, findings, with_history)).collect();
        Self { passed: findings.passed(), read, items }
    }
}

impl ItemStatement {
    fn of(item: &Item, findings: &Findings, with_history: bool) -> Self {
        let of_it = |all: &[super::Violation]| -> Vec<String> {
            all.iter().filter(|found| found.item == item.number).map(|found| found.found.clone()).collect()
        };
        let (broken, unknown) = (of_it(&findings.violations), of_it(&findings.unknown));
        let state = match (broken.is_empty(), unknown.is_empty()) {
            (false, _) => State::Broken,
            (true, false) => State::Unknown,
            (true, true) if item.needs_history && !with_history => State::NotChecked,
            (true, true) => State::Holds,
        };
        Self { item: item.number, rule: item.rule, state, found: [broken, unknown].concat() }
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Holds => "ok",
            Self::Broken => "BROKEN",
            Self::Unknown => "UNKNOWN",
            Self::NotChecked => "not checked",
        })
    }
}

impl fmt::Display for Statement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Read { skus, ledger_rows, reservations, orders, requests } = self.read;
        writeln!(f, "{skus} SKUs, {ledger_rows} ledger rows, {reservations} reservations, {orders} orders")?;
        if requests > 0 {
            writeln!(f, "{requests} requests in the histories")?;
        }
        for item in &self.items {
            writeln!(f, "{:<12}{:>2}. {}", item.state, item.item, item.rule)?;
        }
        if self.items.iter().any(|item| item.state == State::NotChecked) {
            writeln!(f, "What is not checked needs the history of the attack: --history FILE")?;
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
    use crate::audit::Violation;

    fn state_of(findings: &Findings, with_history: bool, number: u8) -> (bool, State) {
        let statement = Statement::of(findings, Read::default(), with_history);
        let item = statement.items.iter().find(|item| item.item == number).expect("an item");
        (statement.passed, item.state)
    }

    #[test]
    fn unknown_is_not_a_pass_and_not_a_violation() {
        let gave_up = vec![Violation { item: 9, found: "a: the search gave up".into() }];
        let findings = Findings { unknown: gave_up, ..Findings::default() };
        assert_eq!(state_of(&findings, true, 9), (false, State::Unknown));
        assert_eq!(state_of(&findings, true, 7), (false, State::Holds));
    }

    #[test]
    fn what_needs_a_history_is_not_said_to_hold_without_one() {
        let fine = Findings::default();
        for (with_history, state) in [(false, State::NotChecked), (true, State::Holds)] {
            assert_eq!(state_of(&fine, with_history, 7), (true, state));
            assert_eq!(state_of(&fine, with_history, 9), (true, state));
        }
        assert_eq!(state_of(&fine, false, 1), (true, State::Holds));
    }
}
