//! Item 7: what customers were told against what the snapshot show.
//!
//! Why it holds for outcomes that nobody heard: such an attempt may show a row or none, and either is allowed. What is
//! not allowed is a row for a customer who was told that there is none, no row for one who was told that there is one,
//! two rows for anybody, and a row for nobody.

use std::collections::{HashMap, HashSet};

use crate::audit::{Evidence, Reservation};
use crate::workload::operation::Operation;
use crate::workload::outcome::{ExpectedReservations, expected_reservations};

/// 7. 201 ⇒ exactly one row; a definite failure ⇒ none; anything else ⇒ none or one; no row without a request.
///
/// Nothing is checked where no history was kept.
pub(in crate::audit) fn agree_with_the_books(evidence: &Evidence<'_>) -> Vec<String> {
    let Some(history) = evidence.history else {
        return Vec::new();
    };
    let snapshot = evidence.snapshot;
    let key_of: HashMap<_, _> =
        snapshot.orders.iter().map(|order| (order.id, order.idempotency_key.as_str())).collect();
    let asked: HashSet<_> = history.iter().map(|operation| operation.invocation.key.as_str()).collect();
    let mut rows: HashMap<&str, Vec<&Reservation>> = HashMap::new();
    let mut found = Vec::new();
    for reservation in &snapshot.reservations {
        match key_of.get(&reservation.order_id).filter(|key| asked.contains(**key)) {
            Some(key) => rows.entry(key).or_default().push(reservation),
            None => found.push(format!(
                "reservation {} of order {} was asked for by nobody",
                reservation.id, reservation.order_id
            )),
        }
    }
    for operation in history {
        let of_it = rows.get(operation.invocation.key.as_str()).map(Vec::as_slice).unwrap_or_default();
        found.extend(disagreement(operation, of_it));
    }
    found
}

fn disagreement(operation: &Operation, rows: &[&Reservation]) -> Option<String> {
    let (invocation, answer) = (&operation.invocation, operation.answered.as_ref().map(|(_, answer)| answer));
    let (status, code) = (answer.and_then(|a| a.status), answer.and_then(|a| a.code.as_deref()));
    let told = match (status, code) {
        (Some(status), Some(code)) => format!("{status} {code}"),
        (Some(status), None) => status.to_string(),
        (None, _) => "nothing".to_owned(),
    };
    let count = rows.len();
    let allowed = match expected_reservations(status, code) {
        ExpectedReservations::One => count == 1,
        ExpectedReservations::None => count == 0,
        ExpectedReservations::AtMostOne => count <= 1,
    };
    if !allowed {
        return Some(format!(
            "{}: the customer was told {told}, the snapshot show {count} reservations",
            invocation.key
        ));
    }
    let [row] = rows else { return None };
    let as_asked =
        matches!(row.lines.as_slice(), [line] if line.sku == invocation.sku && line.quantity == invocation.quantity);
    if !as_asked {
        return Some(format!(
            "{}: {} × {} were asked for, reservation {} is for something else",
            invocation.key, invocation.quantity, invocation.sku, row.id
        ));
    }
    let told_order = answer.and_then(|answer| answer.order_id);
    (status == Some(201) && told_order != Some(row.order_id))
        .then(|| format!("{}: the customer was given another order than {}", invocation.key, row.order_id))
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use crate::audit::checks::corruption::{history, only_with, valid};
    use crate::workload::operation::{Answer, Operation};

    fn told(operation: &mut Operation, status: Option<u16>, code: Option<&str>) {
        let order_id = operation.answered.as_ref().and_then(|(_, answer)| answer.order_id);
        let answer = Answer { status, code: code.map(str::to_owned), order_id, lock_ms: None };
        operation.answered = Some((operation.invoked, answer));
    }

    #[test]
    fn a_yes_without_a_row_breaks_item_7() {
        let (snapshot, mut history) = (valid(), history());
        told(&mut history[2], Some(201), None);
        assert_eq!(only_with(&snapshot, &history, 7).len(), 1);
    }

    #[test]
    fn a_no_with_a_row_breaks_item_7() {
        for (status, code) in [(409, "out_of_stock"), (503, "lock_timeout"), (503, "lock_quorum_unavailable")] {
            let (snapshot, mut history) = (valid(), history());
            told(&mut history[0], Some(status), Some(code));
            assert_eq!(only_with(&snapshot, &history, 7).len(), 1, "{code}");
        }
    }

    #[test]
    fn silence_and_unknown_outcomes_allow_none_or_one() {
        for (status, code) in [(None, None), (Some(503), Some("dependency_unavailable")), (Some(500), Some("internal"))]
        {
            let (snapshot, mut history) = (valid(), history());
            told(&mut history[0], status, code);
            told(&mut history[2], status, code);
            history[1].answered = history[1].answered.take().filter(|_| status.is_some());
            assert_eq!(only_with(&snapshot, &history, 7), Vec::<String>::new(), "{code:?}");
        }
    }

    #[test]
    fn silence_does_not_allow_two() {
        let (mut snapshot, mut history) = (valid(), history());
        told(&mut history[0], None, None);
        let twice = crate::audit::Reservation { id: Uuid::from_u128(9), ..snapshot.reservations[0].clone() };
        snapshot.reservations.push(twice);
        assert_eq!(only_with(&snapshot, &history, 7).len(), 1);
    }

    #[test]
    fn a_row_nobody_asked_for_breaks_item_7() {
        let (snapshot, mut history) = (valid(), history());
        history.remove(0);
        assert!(only_with(&snapshot, &history, 7)[0].contains("asked for by nobody"));
    }

    #[test]
    fn a_row_for_something_else_breaks_item_7() {
        let (mut snapshot, history) = (valid(), history());
        snapshot.reservations[0].lines[0].quantity = 2;
        assert!(only_with(&snapshot, &history, 7)[0].contains("something else"));
    }

    #[test]
    fn another_order_than_the_one_told_breaks_item_7() {
        let (snapshot, mut history) = (valid(), history());
        if let Some((_, answer)) = &mut history[0].answered {
            answer.order_id = Some(Uuid::from_u128(1234));
        }
        assert_eq!(only_with(&snapshot, &history, 7).len(), 1);
    }
}
