//! Item 7: the answers that customers received against the rows of the databases.
//!
//! An attempt of unknown outcome may have a row or none; both are allowed. Violations are a row after an answer that
//! rules it out, no row after an answer that promises one, two rows of one attempt, and a row of no attempt.

use std::collections::{HashMap, HashSet};

use crate::audit::evidence::Evidence;
use crate::audit::snapshot::Reservation;
use crate::audit::violation::{AnswerShown, Violation};
use crate::workload::operation::Operation;
use crate::workload::outcome::{ExpectedReservations, expected_reservations};

/// 7. 201 ⇒ exactly one row; a definite failure ⇒ none; anything else ⇒ none or one; no row without a request.
///
/// Nothing is checked without a history.
pub(super) fn agree_with_the_databases(evidence: &Evidence<'_>) -> Vec<Violation> {
    let Some(history) = evidence.history else {
        return Vec::new();
    };
    let snapshot = evidence.snapshot;
    let key_of: HashMap<_, _> =
        snapshot.orders.iter().map(|order| (order.id, order.idempotency_key.as_str())).collect();
    let requested: HashSet<_> = history.iter().map(|operation| operation.invocation.key.as_str()).collect();
    let mut rows: HashMap<&str, Vec<&Reservation>> = HashMap::new();
    let mut violations = Vec::new();
    for reservation in &snapshot.reservations {
        match key_of.get(&reservation.order_id).filter(|key| requested.contains(**key)) {
            Some(key) => rows.entry(key).or_default().push(reservation),
            None => violations
                .push(Violation::ReservationNotRequested { reservation: reservation.id, order: reservation.order_id }),
        }
    }
    for operation in history {
        let rows = rows.get(operation.invocation.key.as_str()).map(Vec::as_slice).unwrap_or_default();
        violations.extend(disagreement(operation, rows));
    }
    violations
}

fn disagreement(operation: &Operation, rows: &[&Reservation]) -> Option<Violation> {
    let (invocation, answer) = (&operation.invocation, operation.answered.as_ref().map(|(_, answer)| answer));
    let (status, code) = (answer.and_then(|a| a.status), answer.and_then(|a| a.code.as_deref()));
    let key = invocation.key.clone();
    let count = rows.len();
    let allowed = match expected_reservations(status, code) {
        ExpectedReservations::One => count == 1,
        ExpectedReservations::None => count == 0,
        ExpectedReservations::AtMostOne => count <= 1,
    };
    if !allowed {
        let answer = AnswerShown { status, code: code.map(str::to_owned) };
        return Some(Violation::AnswerContradicted { key, answer, reservations: count });
    }
    let [row] = rows else { return None };
    let as_ordered =
        matches!(row.lines.as_slice(), [line] if line.sku == invocation.sku && line.quantity == invocation.quantity);
    if !as_ordered {
        let (quantity, sku) = (invocation.quantity, invocation.sku.clone());
        return Some(Violation::OtherGoodsReserved { key, quantity, sku, reservation: row.id });
    }
    let answered_order = answer.and_then(|answer| answer.order_id);
    (status == Some(201) && answered_order != Some(row.order_id))
        .then_some(Violation::OtherOrderAnswered { key, order: row.order_id })
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use crate::audit::checks::corruption::{history, only_with, valid};
    use crate::audit::{Item, Violation};
    use crate::workload::operation::{Answer, Operation};

    fn answer(operation: &mut Operation, status: Option<u16>, code: Option<&str>) {
        let order_id = operation.answered.as_ref().and_then(|(_, answer)| answer.order_id);
        let answer = Answer { status, code: code.map(str::to_owned), order_id, lock_ms: None };
        operation.answered = Some((operation.invoked, answer));
    }

    #[test]
    fn a_201_without_a_row_breaks_item_7() {
        let (snapshot, mut history) = (valid(), history());
        answer(&mut history[2], Some(201), None);
        assert_eq!(only_with(&snapshot, &history, Item::AnswersAgree).len(), 1);
    }

    #[test]
    fn a_definite_failure_with_a_row_breaks_item_7() {
        for (status, code) in [(409, "out_of_stock"), (503, "lock_timeout"), (503, "lock_quorum_unavailable")] {
            let (snapshot, mut history) = (valid(), history());
            answer(&mut history[0], Some(status), Some(code));
            assert_eq!(only_with(&snapshot, &history, Item::AnswersAgree).len(), 1, "{code}");
        }
    }

    #[test]
    fn a_missing_answer_and_an_unknown_outcome_allow_none_or_one_row() {
        for (status, code) in [(None, None), (Some(503), Some("dependency_unavailable")), (Some(500), Some("internal"))]
        {
            let (snapshot, mut history) = (valid(), history());
            answer(&mut history[0], status, code);
            answer(&mut history[2], status, code);
            history[1].answered = history[1].answered.take().filter(|_| status.is_some());
            assert_eq!(only_with(&snapshot, &history, Item::AnswersAgree), [], "{code:?}");
        }
    }

    #[test]
    fn a_missing_answer_does_not_allow_two_rows() {
        let (mut snapshot, mut history) = (valid(), history());
        answer(&mut history[0], None, None);
        let second = crate::audit::Reservation { id: Uuid::from_u128(9), ..snapshot.reservations[0].clone() };
        snapshot.reservations.push(second);
        assert_eq!(only_with(&snapshot, &history, Item::AnswersAgree).len(), 1);
    }

    #[test]
    fn a_row_without_a_request_breaks_item_7() {
        let (snapshot, mut history) = (valid(), history());
        history.remove(0);
        let not_requested = Violation::ReservationNotRequested {
            reservation: snapshot.reservations[0].id,
            order: snapshot.reservations[0].order_id,
        };
        assert_eq!(only_with(&snapshot, &history, Item::AnswersAgree), [not_requested]);
    }

    #[test]
    fn a_row_for_something_else_breaks_item_7() {
        let (mut snapshot, history) = (valid(), history());
        snapshot.reservations[0].lines[0].quantity = 2;
        let found = only_with(&snapshot, &history, Item::AnswersAgree);
        assert!(matches!(found[..], [Violation::OtherGoodsReserved { .. }]), "{found:?}");
    }

    #[test]
    fn an_answer_that_names_another_order_breaks_item_7() {
        let (snapshot, mut history) = (valid(), history());
        if let Some((_, answer)) = &mut history[0].answered {
            answer.order_id = Some(Uuid::from_u128(1234));
        }
        assert_eq!(only_with(&snapshot, &history, Item::AnswersAgree).len(), 1);
    }
}
