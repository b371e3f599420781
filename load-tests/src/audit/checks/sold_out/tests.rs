//! Justified and unjustified histories of "sold out", and the rule against the search.

use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};

use super::*;
use crate::audit::LedgerRow;
use crate::audit::checks::corruption::valid;
use crate::workload::operation::{Answer, Invocation};

/// One attempt on the SKU of [`valid`], which starts with three units.
fn attempt(key: &str, from: u64, answer: Option<(u64, u16, Option<&str>)>) -> Operation {
    let answered = answer.map(|(at, status, code)| {
        let answer = Answer { status: Some(status), code: code.map(str::to_owned), order_id: None, lock_ms: None };
        (Duration::from_micros(at), answer)
    });
    let invocation = Invocation { key: key.into(), sku: "a".into(), quantity: 1, to: "http://order".into() };
    Operation { invocation, invoked: Duration::from_micros(from), answered }
}

fn sold(key: &str, from: u64, at: u64) -> Operation {
    attempt(key, from, Some((at, 201, None)))
}

fn sold_out(key: &str, from: u64, at: u64) -> Operation {
    attempt(key, from, Some((at, 409, Some("out_of_stock"))))
}

fn violations(history: &[Operation]) -> Vec<Violation> {
    let (violations, undecided) = is_justified(&Evidence { snapshot: &valid(), history: Some(history) });
    assert_eq!(undecided, []);
    violations
}

#[test]
fn sold_out_after_every_unit_was_sold_is_justified() {
    let history = [sold("1", 1, 2), sold("2", 1, 3), sold("3", 4, 9), sold_out("4", 5, 6), sold_out("5", 7, 8)];
    assert_eq!(violations(&history), []);
}

#[test]
fn sold_out_while_a_unit_was_available_is_a_violation() {
    let history = [sold("1", 1, 2), sold("2", 1, 3), sold_out("4", 5, 6), sold("3", 7, 9)];
    let sku = "a".to_owned();
    let too_early = Violation::SoldOutTooEarly { sku: sku.clone(), at_us: 6, taken: 2, units: 3 };
    let afterwards = Violation::SoldAfterSoldOut { sku, at_us: 6, began_us: 7 };
    assert_eq!(violations(&history), [too_early, afterwards]);
}

#[test]
fn a_request_of_unknown_outcome_may_have_taken_the_unit_and_a_refused_one_may_not() {
    let with = |third| [sold("1", 1, 2), sold("2", 1, 3), third, sold_out("4", 5, 6)];
    for open in [
        attempt("3", 4, None),
        attempt("3", 4, Some((99, 503, Some("dependency_unavailable")))),
        attempt("3", 4, Some((5, 500, None))),
    ] {
        assert_eq!(violations(&with(open)), []);
    }
    let refused = attempt("3", 4, Some((5, 503, Some("lock_timeout"))));
    assert_eq!(violations(&with(refused)).len(), 1);
    let too_late = attempt("3", 7, None);
    assert_eq!(violations(&with(too_late)).len(), 1);
}

#[test]
fn a_retried_request_takes_one_unit_from_when_it_was_first_sent() {
    let retried = [attempt("3", 4, None), sold("3", 8, 9)];
    let history = [sold("1", 1, 2), sold("2", 1, 3), retried[0].clone(), sold_out("4", 5, 6), retried[1].clone()];
    assert_eq!(violations(&history), []);
    let twice = [sold("1", 1, 2), sold("1", 2, 3), sold("2", 1, 3), sold_out("4", 5, 6)];
    assert!(matches!(violations(&twice)[0], Violation::SoldOutTooEarly { taken: 2, units: 3, .. }));
}

#[test]
fn another_sku_explains_nothing() {
    let mut elsewhere = sold("3", 1, 2);
    elsewhere.invocation.sku = "b".into();
    let history = [sold("1", 1, 2), sold("2", 1, 3), elsewhere, sold_out("4", 5, 6)];
    assert_eq!(violations(&history).len(), 1);
}

#[test]
fn units_that_were_returned_count_as_supply() {
    let history =
        [sold("1", 1, 2), sold("2", 1, 3), sold("3", 1, 4), sold_out("4", 5, 6), sold("5", 7, 8), sold_out("6", 9, 10)];
    assert_eq!(violations(&history).len(), 1);
    let mut snapshot = valid();
    let last = snapshot.ledger.last().expect("a ledger").clone();
    snapshot.ledger.push(LedgerRow { seq: last.seq + 1, delta: 1, kind: LedgerKind::Cancel, ..last });
    let evidence = Evidence { snapshot: &snapshot, history: Some(&history) };
    assert_eq!(is_justified(&evidence), (Vec::new(), Vec::new()));
}

/// The rule is exact: on histories of single units it agrees with the search.
#[test]
fn the_rule_and_the_search_agree() {
    let mut random = StdRng::seed_from_u64(5);
    let mut counted = (0, 0);
    for case in 0..20_000 {
        let requests: Vec<_> = (0..random.random_range(1..=8))
            .map(|_| {
                let began = Duration::from_micros(random.random_range(0..12));
                let at = began + Duration::from_micros(random.random_range(0..6));
                let end = match random.random_range(0..8) {
                    0..4 => End::Sold(at),
                    4..6 => End::SoldOut(at),
                    6 => End::Open,
                    _ => End::Refused,
                };
                OrderRequest { began, quantity: 1, end }
            })
            .collect();
        let sold = requests.iter().filter(|request| matches!(request.end, End::Sold(_))).count();
        // More units sold than were in stock break item 1; the rule covers the other histories.
        let supply = Supply { first: random.random_range(sold..=sold + 2).try_into().expect("few"), later: Vec::new() };
        let justified = by_rule("a", supply.first, &requests).is_empty();
        *(if justified { &mut counted.0 } else { &mut counted.1 }) += 1;
        let found = explains(supply.first, ops(&requests, &supply), Limit { time: Duration::from_mins(10), ..LIMIT });
        let expected = if justified { Search::Explained } else { Search::Unexplained };
        assert_eq!(found, expected, "case {case}: {} units, {requests:?}", supply.first);
    }
    assert!(counted.0 > 2_000 && counted.1 > 2_000, "both are common: {counted:?}");
}
