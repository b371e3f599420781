//! A valid snapshot and its history, and for every item a corruption that breaks this item alone.

use std::time::Duration;

use time::OffsetDateTime;
use uuid::Uuid;

use contract::ReservationStatus;
use strum::VariantArray as _;

use crate::audit::{
    CarriedForward, DbSnapshot, Evidence, Findings, Item, LedgerKind, LedgerRow, Order, OrderStatus, PaymentState,
    Reservation, ReservationLine, Retention, StockRow, Violation, audit,
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
        ..DbSnapshot::default()
    }
}

/// [`valid`], in which order 1 was confirmed and is deleted, with its reservation and the first two rows of the ledger.
fn with_deleted_rows() -> DbSnapshot {
    let mut snapshot = valid();
    snapshot.ledger.drain(..2);
    snapshot.reservations.remove(0);
    snapshot.orders.remove(0);
    let (sku, fence) = (SKU.into(), Some(2));
    let carried = CarriedForward {
        sku,
        last_seq: 2,
        available: 2,
        fence,
        put_units: 3,
        taken_units: 1,
        oversold: -2,
        sold_units: 1,
    };
    snapshot.carried_forward = vec![carried];
    let before = Some(OffsetDateTime::from_unix_timestamp(2_000_000_000).expect("a time"));
    snapshot.retention = Retention { orders_before: before, reservations_before: before };
    snapshot
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

#[test]
fn a_valid_snapshot_passes_though_its_old_rows_are_deleted() {
    let snapshot = with_deleted_rows();
    assert_eq!(audit(&Evidence { snapshot: &snapshot, history: None }), Findings::default());
}

#[test]
fn what_the_deleted_rows_add_up_to_is_judged_with_the_others() {
    let breaks = |item: Item, corrupt: fn(&mut CarriedForward)| {
        let mut snapshot = with_deleted_rows();
        corrupt(&mut snapshot.carried_forward[0]);
        assert!(!only(&snapshot, item).is_empty(), "{item:?}");
    };
    breaks(Item::LiveUnitsExist, |carried| carried.sold_units = 3);
    breaks(Item::LiveUnitsExist, |carried| carried.oversold = 1);
    breaks(Item::LiveUnitsExist, |carried| carried.put_units = 1);
    breaks(Item::AvailableAddsUp, |carried| carried.sold_units = 0);
    breaks(Item::AvailableAddsUp, |carried| carried.taken_units = 0);
    breaks(Item::FencesNeverDecrease, |carried| carried.fence = Some(9));
    breaks(Item::LedgerChains, |carried| carried.available = 3);
}

#[test]
fn only_a_row_that_is_old_enough_may_be_missing() {
    let id = |unix: u64| uuid::Builder::from_unix_timestamp_millis(unix * 1000, &[7; 10]).into_uuid();
    for (made, violations) in [(1_999_999_999, 0), (2_000_000_000, 1)] {
        let mut snapshot = with_deleted_rows();
        let confirmed = Order { id: id(made), status: OrderStatus::Confirmed, ..snapshot.orders[0].clone() };
        snapshot.orders.push(Order { idempotency_key: "confirmed".into(), ..confirmed });
        assert_eq!(only(&snapshot, Item::ConfirmedTogether).len(), violations, "an order made at {made}");

        let mut snapshot = with_deleted_rows();
        let (order_id, status) = (id(made), ReservationStatus::Confirmed);
        snapshot.reservations.push(Reservation { order_id, status, ..snapshot.reservations[0].clone() });
        assert_eq!(only(&snapshot, Item::ConfirmedTogether).len(), violations, "a reservation made at {made}");
    }
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
