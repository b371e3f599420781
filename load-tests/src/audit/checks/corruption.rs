//! DbSnapshot and a history in which everything is right, for tests to spoil one thing at a time.

use std::time::Duration;

use time::OffsetDateTime;
use uuid::Uuid;

use crate::audit::{
    DbSnapshot, Evidence, Findings, ITEMS, LedgerRow, Order, Reservation, ReservationLine, StockRow, audit,
};
use crate::workload::operation::{Answer, Invocation, Operation};

const SKU: &str = "a";

/// Three units, two of them sold to orders 1 and 2; order 3 was refused and its payment voided.
pub(super) fn valid() -> DbSnapshot {
    let row = |seq: i64, delta, before, kind: &str| LedgerRow {
        seq,
        sku: SKU.into(),
        delta,
        before,
        after: before + delta,
        fence: Some(seq),
        kind: kind.into(),
        reservation_id: (kind == "reserve").then(|| Uuid::from_u128(seq.unsigned_abs().into())),
        transaction: (700 + seq).to_string(),
        at: OffsetDateTime::UNIX_EPOCH,
    };
    let reservation = |n: u128| Reservation {
        id: Uuid::from_u128(100 + n),
        order_id: Uuid::from_u128(n),
        status: "held".into(),
        lines: vec![ReservationLine { sku: SKU.into(), quantity: 1 }],
    };
    let order = |n: u128, status: &str, payment: &str| Order {
        id: Uuid::from_u128(n),
        status: status.into(),
        idempotency_key: format!("key-{n}"),
        payment: Some(payment.into()),
    };
    DbSnapshot {
        stock: vec![StockRow { sku: SKU.into(), on_hand: 3, available: 1 }],
        ledger: vec![row(1, 3, 0, "put"), row(2, -1, 3, "reserve"), row(3, -1, 2, "reserve")],
        reservations: vec![reservation(1), reservation(2)],
        orders: vec![order(1, "held", "captured"), order(2, "held", "captured"), order(3, "failed", "voided")],
        refusals: Vec::new(),
    }
}

/// The attack that led to [`valid`].
pub(super) fn history() -> Vec<Operation> {
    vec![told(1, 201, None), told(2, 201, None), told(3, 503, Some("lock_timeout"))]
}

/// What the customer of order `n` asked and was told.
fn told(n: u128, status: u16, code: Option<&str>) -> Operation {
    Operation {
        invocation: Invocation { key: format!("key-{n}"), sku: SKU.into(), quantity: 1, to: "http://order".into() },
        invoked: Duration::from_millis(1),
        answered: Some((
            Duration::from_millis(2),
            Answer {
                status: Some(status),
                code: code.map(str::to_owned),
                order_id: (status == 201).then(|| Uuid::from_u128(n)),
                lock_ms: None,
            },
        )),
    }
}

/// What was found under one item, without a history.
pub(super) fn only(snapshot: &DbSnapshot, item: u8) -> Vec<String> {
    found(&Evidence { snapshot, history: None }, item)
}

/// What was found under one item.
pub(super) fn only_with(snapshot: &DbSnapshot, history: &[Operation], item: u8) -> Vec<String> {
    found(&Evidence { snapshot, history: Some(history) }, item)
}

fn found(evidence: &Evidence<'_>, item: u8) -> Vec<String> {
    let violations = audit(evidence).violations.into_iter().filter(|violation| violation.item == item);
    violations.map(|violation| violation.found).collect()
}

#[test]
fn books_in_order_pass() {
    let (snapshot, history) = (valid(), history());
    assert_eq!(audit(&Evidence { snapshot: &snapshot, history: Some(&history) }), Findings::default());
}

/// Spoils what this item is about, and nothing that another item looks at.
fn spoil(item: u8, snapshot: &mut DbSnapshot, history: &mut Vec<Operation>) {
    let last = snapshot.ledger[2].clone();
    let then = |seq: i64, delta: i64, before: i64, kind: &str| LedgerRow {
        seq,
        delta,
        before,
        after: before + delta,
        fence: Some(seq),
        kind: kind.into(),
        transaction: (700 + seq).to_string(),
        ..last.clone()
    };
    match item {
        // Five too many were promised, and given back before anybody looked.
        1 => snapshot.ledger.extend([then(4, -5, 1, "reserve"), then(5, 5, -4, "cancel")]),
        2 => snapshot.stock[0].available = 2,
        // An order for a negative number of units, faithfully booked everywhere.
        3 => {
            let lines = vec![ReservationLine { sku: SKU.into(), quantity: -3 }];
            let (id, order_id) = (Uuid::from_u128(104), Uuid::from_u128(4));
            snapshot.reservations.push(Reservation { id, order_id, status: "held".into(), lines });
            snapshot.orders.push(Order { id: order_id, idempotency_key: "key-4".into(), ..snapshot.orders[0].clone() });
            snapshot.ledger.push(then(4, 3, 1, "reserve"));
            snapshot.stock[0].available = 4;
            let mut asked = told(4, 201, None);
            asked.invocation.quantity = -3;
            history.push(asked);
        }
        4 => snapshot.orders.push(Order { id: Uuid::from_u128(5), ..snapshot.orders[2].clone() }),
        5 => snapshot.ledger[2].fence = Some(1),
        6 => (snapshot.ledger[2].before, snapshot.ledger[2].after) = (3, 2),
        7 => history[2] = told(3, 201, None),
        8 => snapshot.orders[0].status = "confirmed".into(),
        9 => history.push(told(4, 409, Some("out_of_stock"))),
        10 => snapshot.orders[2].payment = Some("authorised".into()),
        other => panic!("nobody has shown that item {other} can be broken"),
    }
}

#[test]
fn every_item_can_be_broken_alone() {
    for item in ITEMS.iter().map(|item| item.number) {
        let (mut snapshot, mut history) = (valid(), history());
        spoil(item, &mut snapshot, &mut history);
        let findings = audit(&Evidence { snapshot: &snapshot, history: Some(&history) });
        let mut broken: Vec<_> = findings.violations.iter().map(|violation| violation.item).collect();
        broken.dedup();
        assert_eq!(broken, [item], "{findings:?}");
        assert_eq!(findings.unknown, []);
    }
}
