//! Items 4, 8 and 10: orders, their reservations and their payments. They hold for every strategy.

use std::collections::{HashMap, HashSet};
use std::hash::Hash;

use contract::ReservationStatus;

use crate::audit::evidence::Evidence;
use crate::audit::snapshot::{OrderStatus, PaymentState};
use crate::audit::violation::Violation;

/// 4. One reservation per order, one order per idempotency key.
pub(super) fn one_of_each(evidence: &Evidence<'_>) -> Vec<Violation> {
    let snapshot = evidence.snapshot;
    let reservations = more_than_once(snapshot.reservations.iter().map(|reservation| reservation.order_id));
    let reservations = reservations.map(|(order, count)| Violation::SeveralReservations { order, count });
    let orders = more_than_once(snapshot.orders.iter().map(|order| order.idempotency_key.as_str()));
    let orders = orders.map(|(key, count)| Violation::SeveralOrders { key: key.to_owned(), count });
    reservations.chain(orders).collect()
}

/// 8. A confirmed order ⇔ a confirmed reservation.
pub(super) fn confirmed_together(evidence: &Evidence<'_>) -> Vec<Violation> {
    let snapshot = evidence.snapshot;
    let reservations: HashMap<_, _> =
        snapshot.reservations.iter().map(|reservation| (reservation.order_id, reservation)).collect();
    let mut violations = Vec::new();
    for order in &snapshot.orders {
        let (id, status) = (order.id, order.status);
        match reservations.get(&id).map(|reservation| reservation.status) {
            Some(reservation)
                if (status == OrderStatus::Confirmed) != (reservation == ReservationStatus::Confirmed) =>
            {
                violations.push(Violation::StatusesDiffer { order: id, status, reservation });
            }
            None if status == OrderStatus::Confirmed && !snapshot.retention.may_lack_reservation(id) => {
                violations.push(Violation::ConfirmedWithoutReservation { order: id });
            }
            Some(_) | None => {}
        }
    }
    let orders: HashSet<_> = snapshot.orders.iter().map(|order| order.id).collect();
    for (&order, reservation) in reservations.iter().filter(|(order, _)| !orders.contains(order)) {
        if reservation.status == ReservationStatus::Confirmed && !snapshot.retention.may_lack_order(order) {
            violations.push(Violation::ConfirmedWithoutOrder { reservation: reservation.id, order });
        }
    }
    violations
}

/// 10. No payment is left authorised, and a payment is captured ⇔ its order is live.
pub(super) fn payments_settled(evidence: &Evidence<'_>) -> Vec<Violation> {
    let mut violations = Vec::new();
    for order in &evidence.snapshot.orders {
        let (id, status, live) = (order.id, order.status, order.is_live());
        match order.payment {
            Some(PaymentState::Captured) if live => {}
            Some(PaymentState::Voided) | None if !live => {}
            Some(payment) => violations.push(Violation::PaymentDiffers { order: id, status, payment }),
            None => violations.push(Violation::PaymentMissing { order: id, status }),
        }
    }
    violations
}

fn more_than_once<T: Eq + Hash>(all: impl Iterator<Item = T>) -> impl Iterator<Item = (T, usize)> {
    let mut counts: HashMap<T, usize> = HashMap::new();
    for one in all {
        *counts.entry(one).or_default() += 1;
    }
    counts.into_iter().filter(|(_, count)| *count > 1)
}

#[cfg(test)]
mod tests {
    use contract::ReservationStatus;
    use uuid::Uuid;

    use crate::audit::checks::corruption::{only, valid};
    use crate::audit::{Item, OrderStatus, PaymentState, Reservation, Violation};

    #[test]
    fn two_reservations_of_one_order_break_item_4() {
        let mut snapshot = valid();
        let second = Reservation { id: Uuid::from_u128(99), ..snapshot.reservations[0].clone() };
        snapshot.reservations.push(second);
        assert_eq!(only(&snapshot, Item::OneOfEach).len(), 1);
    }

    #[test]
    fn two_orders_under_one_key_break_item_4() {
        let mut snapshot = valid();
        snapshot.orders[1].idempotency_key = snapshot.orders[0].idempotency_key.clone();
        assert_eq!(only(&snapshot, Item::OneOfEach).len(), 1);
    }

    #[test]
    fn a_confirmed_order_without_a_confirmed_reservation_breaks_item_8() {
        let mut snapshot = valid();
        snapshot.orders[0].status = OrderStatus::Confirmed;
        assert_eq!(only(&snapshot, Item::ConfirmedTogether).len(), 1);
        snapshot.reservations[0].status = ReservationStatus::Confirmed;
        assert_eq!(only(&snapshot, Item::ConfirmedTogether), []);
        snapshot.orders[0].status = OrderStatus::Held;
        assert_eq!(only(&snapshot, Item::ConfirmedTogether).len(), 1);
        snapshot.orders[0].status = OrderStatus::Confirmed;
        snapshot.reservations.remove(0);
        let alone = Violation::ConfirmedWithoutReservation { order: snapshot.orders[0].id };
        assert_eq!(only(&snapshot, Item::ConfirmedTogether), [alone]);
    }

    #[test]
    fn a_confirmed_reservation_without_an_order_breaks_item_8() {
        let mut snapshot = valid();
        snapshot.reservations[0].status = ReservationStatus::Confirmed;
        snapshot.reservations[0].order_id = Uuid::from_u128(77);
        assert_eq!(only(&snapshot, Item::ConfirmedTogether).len(), 1);
    }

    #[test]
    fn an_open_payment_breaks_item_10() {
        for (order, status) in [(2, OrderStatus::Failed), (0, OrderStatus::Held)] {
            let mut snapshot = valid();
            snapshot.orders[order].payment = Some(PaymentState::Authorised);
            let open = Violation::PaymentDiffers {
                order: snapshot.orders[order].id,
                status,
                payment: PaymentState::Authorised,
            };
            assert_eq!(only(&snapshot, Item::PaymentsSettled), [open]);
        }
    }

    #[test]
    fn a_payment_without_goods_and_goods_without_a_payment_break_item_10() {
        let mut snapshot = valid();
        snapshot.orders[2].payment = Some(PaymentState::Captured);
        snapshot.orders[0].payment = None;
        assert_eq!(only(&snapshot, Item::PaymentsSettled).len(), 2);
    }
}
