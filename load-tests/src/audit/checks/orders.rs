//! Items 4, 8 and 10: orders, their reservations and their payments. They hold for every strategy.

use std::collections::HashMap;
use std::hash::Hash;

use uuid::Uuid;

use crate::audit::{DbSnapshot, Evidence, Reservation};

/// 4. One reservation per order, one order per idempotency key.
pub(in crate::audit) fn one_of_each(evidence: &Evidence<'_>) -> Vec<String> {
    let snapshot = evidence.snapshot;
    let reservations = more_than_once(snapshot.reservations.iter().map(|reservation| reservation.order_id));
    let orders = more_than_once(snapshot.orders.iter().map(|order| order.idempotency_key.as_str()));
    let reservations = reservations.map(|(order, count)| format!("order {order} has {count} reservations"));
    let orders = orders.map(|(key, count)| format!("key {key} has {count} orders"));
    reservations.chain(orders).collect()
}

/// 8. A confirmed order ⇔ a confirmed reservation.
pub(in crate::audit) fn confirmed_together(evidence: &Evidence<'_>) -> Vec<String> {
    let reservations = by_order(evidence.snapshot);
    let orders: HashMap<_, _> =
        evidence.snapshot.orders.iter().map(|order| (order.id, order.status.as_str())).collect();
    let is = |status: Option<&str>| status == Some("confirmed");
    let mut found = Vec::new();
    for (order, status) in &orders {
        let reservation = reservations.get(order).map(|r| r.status.as_str());
        if is(Some(status)) != is(reservation) {
            found.push(format!("order {order} is {status}, its reservation {}", reservation.unwrap_or("absent")));
        }
    }
    for (order, reservation) in reservations.iter().filter(|(order, _)| !orders.contains_key(order)) {
        if is(Some(&reservation.status)) {
            found.push(format!("reservation {} is confirmed, and there is no order {order}", reservation.id));
        }
    }
    found
}

/// 10. Every authorised payment ended captured or voided; captured ⇔ the order stands.
pub(in crate::audit) fn payments_settled(evidence: &Evidence<'_>) -> Vec<String> {
    let mut found = Vec::new();
    for order in &evidence.snapshot.orders {
        let payment = order.payment.as_deref().unwrap_or("absent");
        if payment == "authorised" {
            found.push(format!("order {} is {}, its payment still open", order.id, order.status));
        } else if (payment == "captured") != order.stands() {
            found.push(format!("order {} is {}, its payment {payment}", order.id, order.status));
        }
    }
    found
}

fn by_order(snapshot: &DbSnapshot) -> HashMap<Uuid, &Reservation> {
    snapshot.reservations.iter().map(|reservation| (reservation.order_id, reservation)).collect()
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
    use uuid::Uuid;

    use crate::audit::Reservation;
    use crate::audit::checks::corruption::{only, valid};

    #[test]
    fn two_reservations_of_one_order_break_item_4() {
        let mut snapshot = valid();
        let twice = Reservation { id: Uuid::from_u128(99), ..snapshot.reservations[0].clone() };
        snapshot.reservations.push(twice);
        assert_eq!(only(&snapshot, 4).len(), 1);
    }

    #[test]
    fn two_orders_under_one_key_break_item_4() {
        let mut snapshot = valid();
        snapshot.orders[1].idempotency_key = snapshot.orders[0].idempotency_key.clone();
        assert_eq!(only(&snapshot, 4).len(), 1);
    }

    #[test]
    fn a_confirmed_order_without_a_confirmed_reservation_breaks_item_8() {
        let mut snapshot = valid();
        snapshot.orders[0].status = "confirmed".into();
        assert_eq!(only(&snapshot, 8).len(), 1);
        snapshot.reservations[0].status = "confirmed".into();
        assert_eq!(only(&snapshot, 8), Vec::<String>::new());
        snapshot.orders[0].status = "held".into();
        assert_eq!(only(&snapshot, 8).len(), 1);
    }

    #[test]
    fn a_confirmed_reservation_nobody_ordered_breaks_item_8() {
        let mut snapshot = valid();
        snapshot.reservations[0].status = "confirmed".into();
        snapshot.reservations[0].order_id = Uuid::from_u128(77);
        assert_eq!(only(&snapshot, 8).len(), 1);
    }

    #[test]
    fn an_open_payment_breaks_item_10() {
        let mut snapshot = valid();
        snapshot.orders[2].payment = Some("authorised".into());
        assert!(only(&snapshot, 10)[0].contains("still open"));
    }

    #[test]
    fn money_for_nothing_and_goods_for_nothing_break_item_10() {
        let mut snapshot = valid();
        snapshot.orders[2].payment = Some("captured".into());
        snapshot.orders[0].payment = None;
        assert_eq!(only(&snapshot, 10).len(), 2);
    }
}
