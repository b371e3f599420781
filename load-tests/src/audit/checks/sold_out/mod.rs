//! Item 9: was every "sold out" justified? CheckResult from what customers asked and heard, each SKU for itself.
//!
//! A SKU of which every request wanted one unit and nothing ever came back has an exact rule in one pass. Everything
//! else goes to [`search`](super::search), which may give up. Why the rule is exact: `docs/decisions/0060-sold-out.md`.
//!
//! Invariant: whatever is not decided is unknown, and unknown is not a pass.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use super::CheckResult;
use super::search::{Effect, Limit, Op, Search, explains};
use crate::audit::{DbSnapshot, Evidence};
use crate::workload::operation::Operation;
use crate::workload::outcome::{ExpectedReservations, Outcome, expected_reservations};

/// A search that takes longer, or visits more states, has not decided.
const LIMIT: Limit = Limit { time: Duration::from_secs(5), states: 100_000 };

/// Item 9. With D = the earliest sold-out answer of a SKU: at least as many units as there were had been asked for, by
/// requests that began before D and succeeded or were never answered, and no success began after D.
///
/// Nothing is checked where no history was kept.
pub(in crate::audit) fn was_justified(evidence: &Evidence<'_>) -> CheckResult {
    let mut judged = CheckResult::default();
    for (sku, requests) in requests_by_sku(evidence.history.unwrap_or_default()) {
        let supply = Supply::of(evidence.snapshot, sku, &requests);
        if supply.later.is_empty() && requests.iter().all(|request| request.quantity == 1) {
            judged.found.extend(by_rule(sku, supply.first, &requests));
            continue;
        }
        match explains(supply.first, ops(&requests, &supply), LIMIT) {
            Search::Explained => {}
            Search::Unexplained => judged.found.push(format!("{sku}: no order of the answers explains all of them")),
            Search::GaveUp => judged.unknown.push(format!("{sku}: the search for an order of the answers gave up")),
        }
    }
    judged
}

/// One customer's wish, however often it was sent.
#[derive(Debug, Clone, Copy)]
struct Request {
    began: Duration,
    quantity: i64,
    end: End,
}

/// What the customer knows in the end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    Sold(Duration),
    SoldOut(Duration),
    /// It may have been sold, and may yet be.
    Open,
    /// Definitely not sold, for another reason than stock.
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

    /// Of two answers to the same key, what the customer knows.
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

/// Requests with one key are one request: they were sent again, not asked again.
fn requests_by_sku(history: &[Operation]) -> BTreeMap<&str, Vec<Request>> {
    let mut by_sku: BTreeMap<&str, Vec<Request>> = BTreeMap::new();
    let mut known: HashMap<&str, usize> = HashMap::new();
    for operation in history {
        let (key, sku) = (operation.invocation.key.as_str(), operation.invocation.sku.as_str());
        let (began, end) = (operation.invoked, End::of(operation));
        let requests = by_sku.entry(sku).or_default();
        if let Some(earlier) = known.get(key).and_then(|at| requests.get_mut(*at)) {
            (earlier.began, earlier.end) = (earlier.began.min(began), earlier.end.and(end));
        } else {
            known.insert(key, requests.len());
            requests.push(Request { began, quantity: operation.invocation.quantity, end });
        }
    }
    by_sku
}

/// The units of a SKU: those it was given at first, and what came or went besides the requests.
struct Supply {
    first: i64,
    /// Since when at the earliest, and how many.
    later: Vec<(Duration, i64)>,
}

impl Supply {
    /// The ledger knows what came back; it may have come at any time since the first request.
    fn of(snapshot: &DbSnapshot, sku: &str, requests: &[Request]) -> Self {
        let began = requests.iter().map(|request| request.began).min().unwrap_or_default();
        let others = snapshot.ledger.iter().filter(|row| row.sku == sku && row.kind != "reserve");
        let mut others = others.map(|row| row.delta);
        let first = others.next().unwrap_or_default();
        Self { first, later: others.map(|units| (began, units)).collect() }
    }
}

fn by_rule(sku: &str, units: i64, requests: &[Request]) -> Vec<String> {
    let sold_out = requests.iter().filter_map(|request| match request.end {
        End::SoldOut(at) => Some(at),
        End::Sold(_) | End::Open | End::Refused => None,
    });
    let Some(first) = sold_out.min() else { return Vec::new() };
    let mut found = Vec::new();
    let may_have_sold = |request: &&Request| matches!(request.end, End::Sold(_) | End::Open);
    let taken = requests.iter().filter(may_have_sold).filter(|request| request.began <= first).count();
    let at = first.as_micros();
    if i64::try_from(taken).is_ok_and(|taken| taken < units) {
        found.push(format!("{sku}: sold out after {at} µs, when at most {taken} of {units} units could be gone"));
    }
    let sold_later = |request: &&Request| matches!(request.end, End::Sold(_)) && request.began > first;
    if let Some(late) = requests.iter().find(sold_later) {
        let began = late.began.as_micros();
        found.push(format!("{sku}: sold out after {at} µs, and sold to a request that began after {began} µs"));
    }
    found
}

fn ops(requests: &[Request], supply: &Supply) -> Vec<Op> {
    let asked = requests.iter().filter_map(|request| {
        let (effect, until) = match request.end {
            End::Sold(at) => (Effect::CellRun(request.quantity), Some(at)),
            End::SoldOut(at) => (Effect::Lack(request.quantity), Some(at)),
            End::Open => (Effect::CellRun(request.quantity), None),
            End::Refused => return None,
        };
        Some(Op { from: request.began, until, effect })
    });
    let besides = supply.later.iter().map(|&(from, units)| {
        let effect = if units < 0 { Effect::CellRun(-units) } else { Effect::Give(units) };
        Op { from, until: None, effect }
    });
    asked.chain(besides).collect()
}

#[cfg(test)]
mod tests;
