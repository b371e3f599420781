//! Books and a history in which everything is right, for tests to spoil one thing at a time.

use std::time::Duration;

use uuid::Uuid;

use crate::audit::{Books, Evidence, LedgerRow, Order, Reservation, ReservationLine, StockRow, audit};
use crate::history::{Answer, Invocation, Operation};

const SKU: &str = "a";

/// Three units, two of them sold to orders 1 and 2; order 3 was refused and its payment voided.
pub(super) fn honest() -> Books {
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
    Books {
        stock: vec![StockRow { sku: SKU.into(), on_hand: 3, available: 1 }],
        ledger: vec![row(1, 3, 0, "put"), row(2, -1, 3, "reserve"), row(3, -1, 2, "reserve")],
        reservations: vec![reservation(1), reservation(2)],
        orders: vec![order(1, "held", "captured"), order(2, "held", "captured"), order(3, "failed", "voided")],
        refusals: Vec::new(),
    }
}

/// The attack that led to [`honest`].
pub(super) fn history() -> Vec<Operation> {
    let operation = |n: u128, status: u16, code: Option<&str>| Operation {
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
    };
    vec![operation(1, 201, None), operation(2, 201, None), operation(3, 503, Some("lock_timeout"))]
}

/// What was found under one item, without a history.
pub(super) fn only(books: &Books, item: u8) -> Vec<String> {
    found(&Evidence { books, history: None }, item)
}

/// What was found under one item.
pub(super) fn only_with(books: &Books, history: &[Operation], item: u8) -> Vec<String> {
    found(&Evidence { books, history: Some(history) }, item)
}

fn found(evidence: &Evidence<'_>, item: u8) -> Vec<String> {
    let violations = audit(evidence).into_iter().filter(|violation| violation.item == item);
    violations.map(|violation| violation.found).collect()
}

#[test]
fn books_in_order_pass() {
    let (books, history) = (honest(), history());
    assert_eq!(audit(&Evidence { books: &books, history: Some(&history) }), []);
}
