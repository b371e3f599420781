//! Item 9: was every "sold out" justified? Judged from requests and answers, each SKU by itself.
//!
//! A SKU of which every request is for one unit, and to which no unit was returned, has an exact rule in one pass.
//! Everything else goes to [`search`](super::search), which may give up. Why the rule is exact:
//! `docs/decisions/0060-sold-out.md`.
//!
//! Invariant: a SKU that is not decided is reported as undecided, and that is not a pass.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use super::search::{Effect, Limit, Op, Search, explains};
use crate::audit::evidence::Evidence;
use crate::audit::snapshot::{DbSnapshot, LedgerKind};
use crate::audit::violation::{Undecided, Violation};
use crate::workload::operation::Operation;
use crate::workload::outcome::{ExpectedReservations, Outcome, expected_reservations};

/// A search that takes longer, or visits more states, gives up.
const LIMIT: Limit = Limit { time: Duration::from_secs(5), states: 100_000 };

/// Item 9. With D = the earliest sold-out answer of a SKU: at least as many units as were in stock had been requested by
/// requests that began before D and succeeded or have no definite answer, and no success began after D.
///
/// Nothing is checked without a history.
pub(super) fn is_justified(evidence: &Evidence<'_>) -> (Vec<Violation>, Vec<Undecided>) {
    let (mut violations, mut undecided) = (Vec::new(), Vec::new());
    for (sku, requests) in requests_by_sku(evidence.history.unwrap_or_default()) {
        let supply = Supply::of(evidence.snapshot, sku, &requests);
        if supply.later.is_empty() && requests.iter().all(|request| request.quantity == 1) {
            violations.extend(by_rule(sku, supply.first, &requests));
            continue;
        }
        match explains(supply.first, ops(&requests, &supply), LIMIT) {
            Search::Explained => {}
            Search::Unexplained => violations.push(Violation::AnswersUnexplained { sku: sku.to_owned() }),
            Search::GaveUp => undecided.push(Undecided::SearchGaveUp { sku: sku.to_owned() }),
        }
    }
    (violations, undecided)
}

/// One order of a customer, however often its request was sent.
#[derive(Debug, Clone, Copy)]
struct OrderRequest {
    began: Duration,
    quantity: i64,
    end: End,
}

/// What the customer knows after the last answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    Sold(Duration),
    SoldOut(Duration),
    /// The outcome is unknown: it may have been sold, or may still be.
    Open,
    /// Definitely not sold, for a reason other than stock.
    Refused,
}

impl End {
    fn of(operation: &Operation) -> Self {
        let Some((at, answer)) = &operation.answered else { return Self::Open };
        if answer.outcome() == Outcome::SoldOut {
            return Self::SoldOut(*at);
        }
        match expected_reservations(answer.status, answer.code.as_deref()) {
            ExpectedReservations::One => Self::Sold(*at),
            ExpectedReservations::AtMostOne => Self::Open,
            ExpectedReservations::None => Self::Refused,
        }
    }

    /// What the customer knows from two answers to the same key.
    fn and(self, other: Self) -> Self {
        match (self, other) {
            (Self::Sold(one), Self::Sold(two)) => Self::Sold(one.min(two)),
            (Self::Sold(at), _) | (_, Self::Sold(at)) => Self::Sold(at),
            (Self::SoldOut(one), Self::SoldOut(two)) => Self::SoldOut(one.min(two)),
            (Self::SoldOut(at), _) | (_, Self::SoldOut(at)) => Self::SoldOut(at),
            (Self::Open, _) | (_, Self::Open) => Self::Open,
            (Self::Refused, Self::Refused) => Self::Refused,
        }
    }
}

/// Requests with the same key are one order: a retry orders nothing more.
fn requests_by_sku(history: &[Operation]) -> BTreeMap<&str, Vec<OrderRequest>> {
    let mut by_sku: BTreeMap<&str, Vec<OrderRequest>> = BTreeMap::new();
    let mut known: HashMap<&str, usize> = HashMap::new();
    for operation in history {
        let (key, sku) = (operation.invocation.key.as_str(), operation.invocation.sku.as_str());
        let (began, end) = (operation.invoked, End::of(operation));
        let requests = by_sku.entry(sku).or_default();
        if let Some(earlier) = known.get(key).and_then(|at| requests.get_mut(*at)) {
            (earlier.began, earlier.end) = (earlier.began.min(began), earlier.end.and(end));
        } else {
            known.insert(key, requests.len());
            requests.push(OrderRequest { began, quantity: operation.invocation.quantity, end });
        }
    }
    by_sku
}

/// The units of a SKU: the initial stock, and units that were added or removed other than by requests.
struct Supply {
    first: i64,
    /// The earliest possible time, and how many units.
    later: Vec<(Duration, i64)>,
}

impl Supply {
    /// The ledger records what was added; it may have been added at any time since the first request.
    fn of(snapshot: &DbSnapshot, sku: &str, requests: &[OrderRequest]) -> Self {
        let began = requests.iter().map(|request| request.began).min().unwrap_or_default();
        let others = snapshot.ledger.iter().filter(|row| row.sku == sku && row.kind != LedgerKind::Reserve);
        let mut others = others.map(|row| row.delta);
        let carried = snapshot.carried(sku);
        let first = if carried.last_seq > 0 { carried.available } else { others.next().unwrap_or_default() };
        Self { first, later: others.map(|units| (began, units)).collect() }
    }
}

fn by_rule(sku: &str, units: i64, requests: &[OrderRequest]) -> Vec<Violation> {
    let sold_out = requests.iter().filter_map(|request| match request.end {
        End::SoldOut(at) => Some(at),
        End::Sold(_) | End::Open | End::Refused => None,
    });
    let Some(first) = sold_out.min() else { return Vec::new() };
    let mut violations = Vec::new();
    let may_have_sold = |request: &&OrderRequest| matches!(request.end, End::Sold(_) | End::Open);
    let taken = requests.iter().filter(may_have_sold).filter(|request| request.began <= first).count();
    let at_us = first.as_micros();
    if i64::try_from(taken).is_ok_and(|taken| taken < units) {
        violations.push(Violation::SoldOutTooEarly { sku: sku.to_owned(), at_us, taken, units });
    }
    let sold_later = |request: &&OrderRequest| matches!(request.end, End::Sold(_)) && request.began > first;
    if let Some(late) = requests.iter().find(sold_later) {
        let began_us = late.began.as_micros();
        violations.push(Violation::SoldAfterSoldOut { sku: sku.to_owned(), at_us, began_us });
    }
    violations
}

fn ops(requests: &[OrderRequest], supply: &Supply) -> Vec<Op> {
    let requested = requests.iter().filter_map(|request| {
        let (effect, until) = match request.end {
            End::Sold(at) => (Effect::Take(request.quantity), Some(at)),
            End::SoldOut(at) => (Effect::Lack(request.quantity), Some(at)),
            End::Open => (Effect::Take(request.quantity), None),
            End::Refused => return None,
        };
        Some(Op { from: request.began, until, effect })
    });
    let others = supply.later.iter().map(|&(from, units)| {
        let effect = if units < 0 { Effect::Take(-units) } else { Effect::Give(units) };
        Op { from, until: None, effect }
    });
    requested.chain(others).collect()
}

#[cfg(test)]
mod tests;
