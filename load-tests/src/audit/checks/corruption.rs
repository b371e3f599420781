//! A valid snapshot and its history, and for every item a corruption that breaks this item alone.

use std::time::Duration;

use time::OffsetDateTime;
use uuid::Uuid;

use contract::ReservationStatus;
use strum::VariantArray as _;

use crate::audit::{
    DbSnapshot, Evidence, Findings, Item, LedgerKind, LedgerRow, Order, OrderStatus, PaymentState, Reservation,
    ReservationLine, StockRow, Violation, audit,
};
use crate::workload::operation::{Answer, Invocation, Operation};

const SKU: &str = "a";

/// Three units, two of them sold to orders 1 and 2; order 3 was refused and its payment voided.
pub(super) fn valid() -> DbSnapshot {
    let row = |seq: i64, delta, before, kind: LedgerKind| LedgerRow {
        seq,
        sku: SKU.into(),
        delta,
        before,
        after: before + delta,
        fence: Some(seq),
        kind,
        reservation_id: (kind == LedgerKind::Reserve).then(|| Uuid::from_u128(seq.unsigned_abs().into())),
        transaction: (700 + seq).to_string(),
        at: OffsetDateTime::UNIX_EPOCH,
    };
    let reservation = |n: u128| Reservation {
        id: Uuid::from_u128(100 + n),
        order_id: Uuid::from_u128(n),
        status: ReservationStatus::Held,
        lines: vec![ReservationLine { sku: SKU.into(), quantity: 1 }],
    };
    let order = |n: u128, status: OrderStatus, payment: PaymentState| Order {
        id: Uuid::from_u128(n),
        status,
        idempotency_key: format!("key-{n}"),
        payment: Some(payment),
    };
    DbSnapshot {
        stock: vec![StockRow { sku: SKU.into(), on_hand: 3, available: 1 }],
        ledger: vec![
            row(1, 3, 0, LedgerKind::Put),
            row(2, -1, 3, LedgerKind::Reserve),
            row(3, -1, 2, LedgerKind::Reserve),
        ],
        reservations: vec![reservation(1), reservation(2)],
        orders: vec![
            order(1, OrderStatus::Held, PaymentState::Captured),
            order(2, OrderStatus::Held, PaymentState::Captured),
            order(3, OrderStatus::Failed, PaymentState::Voided),
        ],
        refusals: Vec::new(),
    }
}

/// The requests and answers that led to [`valid`].
pub(super) fn history() -> Vec<Operation> {
    vec![operation(1, 201, None), operation(2, 201, None), operation(3, 503, Some("lock_timeout"))]
}

/// The request for order `n` and its answer.
fn operation(n: u128, status: u16, code: Option<&str>) -> Operation {
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
pub(super) fn only(snapshot: &DbSnapshot, item: Item) -> Vec<Violation> {
    found(&Evidence { snapshot, history: None }, item)
}

/// What was found under one item.
pub(super) fn only_with(snapshot: &DbSnapshot, history: &[Operation], item: Item) -> Vec<Violation> {
    found(&Evidence { snapshot, history: Some(history) }, item)
}

fn found(evidence: &Evidence<'_>, item: Item) -> Vec<Violation> {
    audit(evidence).violations.into_iter().filter(|violation| violation.item() == item).collect()
}

#[test]
fn a_valid_snapshot_passes() {
    let (snapshot, history) = (valid(), history());
    assert_eq!(audit(&Evidence { snapshot: &snapshot, history: Some(&history) }), Findings::default());
}

/// Breaks this item, and no other.
fn corrupt(item: Item, snapshot: &mut DbSnapshot, history: &mut Vec<Operation>) {
    let last = snapshot.ledger[2].clone();
    let then = |seq: i64, delta: i64, before: i64, kind: LedgerKind| LedgerRow {
        seq,
        delta,
        before,
        after: before + delta,
        fence: Some(seq),
        kind,
        transaction: (700 + seq).to_string(),
        ..last.clone()
    };
    match item {
        // Five units too many were reserved, and returned before the audit.
        Item::LiveUnitsExist => {
            snapshot.ledger.extend([then(4, -5, 1, LedgerKind::Reserve), then(5, 5, -4, LedgerKind::Cancel)]);
        }
        Item::AvailableAddsUp => snapshot.stock[0].available = 2,
        // An order for a negative number of units, recorded consistently everywhere.
        Item::AvailableWithinBounds => {
            let lines = vec![ReservationLine { sku: SKU.into(), quantity: -3 }];
            let (id, order_id) = (Uuid::from_u128(104), Uuid::from_u128(4));
            snapshot.reservations.push(Reservation { id, order_id, status: ReservationStatus::Held, lines });
            snapshot.orders.push(Order { id: order_id, idempotency_key: "key-4".into(), ..snapshot.orders[0].clone() });
            snapshot.ledger.push(then(4, 3, 1, LedgerKind::Reserve));
            snapshot.stock[0].available = 4;
            let mut negative = operation(4, 201, None);
            negative.invocation.quantity = -3;
            history.push(negative);
        }
        Item::OneOfEach => {
            snapshot.orders.push(Order { id: Uuid::from_u128(5), ..snapshot.orders[2].clone() });
        }
        Item::FencesNeverDecrease => snapshot.ledger[2].fence = Some(1),
        Item::LedgerChains => (snapshot.ledger[2].before, snapshot.ledger[2].after) = (3, 2),
        Item::AnswersAgree => history[2] = operation(3, 201, None),
        Item::ConfirmedTogether => snapshot.orders[0].status = OrderStatus::Confirmed,
        Item::SoldOutJustified => history.push(operation(4, 409, Some("out_of_stock"))),
        Item::PaymentsSettled => snapshot.orders[2].payment = Some(PaymentState::Authorised),
    }
}

#[test]
fn every_item_can_be_broken_alone() {
    for &item in Item::VARIANTS {
        let (mut snapshot, mut history) = (valid(), history());
        corrupt(item, &mut snapshot, &mut history);
        let findings = audit(&Evidence { snapshot: &snapshot, history: Some(&history) });
        let mut broken: Vec<_> = findings.violations.iter().map(Violation::item).collect();
        broken.dedup();
        assert_eq!(broken, [item], "{findings:?}");
        assert_eq!(findings.undecided, []);
    }
}

#[test]
fn of_many_violations_of_an_item_five_are_listed_and_the_others_counted() {
    let mut snapshot = valid();
    let last = snapshot.ledger[2].clone();
    snapshot.ledger.extend((4..11).map(|seq| LedgerRow { seq, delta: 1, ..last.clone() }));
    let found = only(&snapshot, Item::LedgerChains);
    assert_eq!((found.len(), found.last()), (6, Some(&Violation::More { item: Item::LedgerChains, count: 9 })));
}
