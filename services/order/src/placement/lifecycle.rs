//! What becomes of an order after it is held: confirmed, cancelled, or its hold
//! expires. Inventory decides which; the order follows its reservation, however
//! often a reply is lost in between. No lock is held here: inventory takes its own.
//!
//! Invariant: an order is confirmed if and only if its reservation is, and a
//! cancelled one is paid back in the same transaction.

use std::{sync::Arc, time::Duration};

use tokio::time::Instant;
use uuid::Uuid;

use crate::domain::error::OrderError;
use crate::domain::order::{OrderStatus, Reservation};
use crate::inventory::client::{CallError, Refusal, Transition};
use crate::placement::service::OrderPlacement;
use crate::store::orders::StoredOrder;

/// A call to inventory may take this long: it takes a lock of its own.
const WITHIN: Duration = Duration::from_secs(10);
/// Who has not finished by then is helped.
const HELPED_AFTER: Duration = Duration::from_secs(5);

/// Confirms or cancels an order. Asking for what is already so is a success.
///
/// # Errors
/// `InvalidState`, `ReservationExpired`, or somebody was away; then asking
/// again is safe.
pub async fn conclude(placement: &OrderPlacement, id: Uuid, transition: Transition) -> Result<StoredOrder, OrderError> {
    let order = placement.db.order(id).await?;
    let reservation = match (order.status, transition, &order.reservation) {
        (OrderStatus::Confirmed, Transition::Confirm, _) | (OrderStatus::Cancelled, Transition::Cancel, _) => {
            return Ok(order);
        }
        (OrderStatus::Held, _, Some(reservation)) => reservation.reservation_id,
        (OrderStatus::Cancelled, Transition::Confirm, Some(reservation)) if reservation.status == "expired" => {
            return Err(OrderError::ReservationExpired);
        }
        (status, ..) => return Err(OrderError::InvalidState(status)),
    };
    placement.db.review_after(id, HELPED_AFTER).await?;
    let asked = placement.section().inventory.transition(reservation, transition, Instant::now() + WITHIN).await;
    let now = match asked {
        Ok(now) => now,
        // An earlier request may have done it and lost its reply: look.
        Err(CallError::Refused(Refusal { status: 409, code, .. })) => {
            let now = query_reservation(placement, id).await?;
            if now.status == "held" && code == "reservation_expired" {
                return Err(OrderError::ReservationExpired); // not swept yet; nothing moves until it is
            }
            now
        }
        Err(CallError::Refused(Refusal { status: 404, .. })) => {
            return Err(OrderError::Defect("a held order without a reservation"));
        }
        Err(error @ (CallError::NotSent(_) | CallError::NoAnswer(_) | CallError::Failed { .. })) => {
            return Err(OrderError::inventory(error));
        }
        Err(error @ CallError::Refused(_)) => return Err(OrderError::Unforeseen(Arc::new(error))),
    };
    apply_reservation(placement, id, &now).await?;
    let order = placement.db.order(id).await?;
    match (order.status, transition) {
        (OrderStatus::Confirmed, Transition::Confirm) | (OrderStatus::Cancelled, Transition::Cancel) => Ok(order),
        _ if now.status == "expired" => Err(OrderError::ReservationExpired),
        (status, _) => Err(OrderError::InvalidState(status)),
    }
}

/// Compares a held order with its reservation; true if the order ended with it.
///
/// # Errors
/// Somebody is away; it is reviewed again.
pub async fn review(placement: &OrderPlacement, id: Uuid) -> Result<bool, OrderError> {
    let now = query_reservation(placement, id).await?;
    apply_reservation(placement, id, &now).await
}

async fn query_reservation(placement: &OrderPlacement, id: Uuid) -> Result<Reservation, OrderError> {
    let found = placement.section().inventory.find_reservation(id, Instant::now() + WITHIN).await;
    found.map_err(OrderError::inventory)?.ok_or(OrderError::Defect("a held order without a reservation"))
}

async fn apply_reservation(
    placement: &OrderPlacement,
    id: Uuid,
    reservation: &Reservation,
) -> Result<bool, OrderError> {
    let (status, failure) = match reservation.status.as_str() {
        "confirmed" => (OrderStatus::Confirmed, None),
        "cancelled" => (OrderStatus::Cancelled, None),
        "expired" => (OrderStatus::Cancelled, Some("reservation_expired")),
        _ => return Ok(false),
    };
    Ok(placement.db.conclude(id, status, reservation, failure).await?)
}
