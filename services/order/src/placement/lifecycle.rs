//! What an order becomes after it is held: confirmed, cancelled, or its hold
//! expires. Inventory decides; the order follows its reservation, however often
//! a reply is lost in between.
//!
//! Invariant: an order is confirmed if and only if its reservation is, and the
//! payment of a cancelled order is voided in the same transaction.
//! Absence: no lock is acquired here; inventory acquires its own.

use std::time::Duration;

use contract::{ProblemCode, ReservationStatus};
use reqwest::StatusCode;
use tokio::time::Instant;
use uuid::Uuid;

use crate::{
    domain::{
        error::OrderError,
        order::{Order, OrderStatus, Reservation},
    },
    inventory::{
        call_error::{CallError, Refusal},
        client::Transition,
    },
    placement::place_order::OrderPlacement,
};

/// How long a call to inventory may take, which acquires a lock of its own.
const CALL_TIMEOUT: Duration = Duration::from_secs(10);
/// When the reconciler reviews an order whose transition has not finished.
const REVIEW_AFTER: Duration = Duration::from_secs(5);

/// Confirms or cancels an order; it succeeds if the order is in that state already.
///
/// # Errors
/// `InvalidState`, `ReservationExpired`, `NoSuchOrder`; or a dependency failed,
/// and a retry is safe.
///
/// # Cancel safety
/// The transition goes on.
pub async fn conclude(placement: &OrderPlacement, id: Uuid, transition: Transition) -> Result<Order, OrderError> {
    let own = placement.clone();
    placement.run_to_end(async move { transition_order(&own, id, transition).await }).await?
}

async fn transition_order(placement: &OrderPlacement, id: Uuid, transition: Transition) -> Result<Order, OrderError> {
    let order = placement.db.order(id).await?;
    let reservation = match (order.status, transition, &order.reservation) {
        (OrderStatus::Confirmed, Transition::Confirm, _) | (OrderStatus::Cancelled, Transition::Cancel, _) => {
            return Ok(order);
        }
        (OrderStatus::Held, _, Some(reservation)) => reservation.reservation_id,
        (OrderStatus::Cancelled, Transition::Confirm, Some(reservation))
            if reservation.status == ReservationStatus::Expired =>
        {
            return Err(OrderError::ReservationExpired);
        }
        (status, ..) => return Err(OrderError::InvalidState(status)),
    };
    placement.db.review_after(id, REVIEW_AFTER).await?;
    let by = Instant::now() + CALL_TIMEOUT;
    let current = match placement.section().inventory.transition(reservation, transition, by).await {
        Ok(current) => current,
        // An earlier request may have done it and lost its reply.
        Err(CallError::Refused(Refusal { status: StatusCode::CONFLICT, code, .. })) => {
            let current = query_reservation(placement, id, CALL_TIMEOUT).await?;
            if current.status == ReservationStatus::Held && code == Some(ProblemCode::ReservationExpired) {
                return Err(OrderError::ReservationExpired); // inventory's sweeper has not expired it yet
            }
            current
        }
        Err(CallError::Refused(Refusal { status: StatusCode::NOT_FOUND, .. })) => {
            return Err(OrderError::Defect("inventory has no reservation of a held order"));
        }
        Err(CallError::Refused(Refusal { code: Some(ProblemCode::Overloaded), .. })) => {
            return Err(OrderError::Overloaded);
        }
        Err(error @ CallError::Refused(_)) => return Err(OrderError::unforeseen(error)),
        Err(error) => return Err(OrderError::inventory(error.kind(), error)),
    };
    apply_reservation(placement, id, &current).await?;
    let order = placement.db.order(id).await?;
    match (order.status, transition) {
        (OrderStatus::Confirmed, Transition::Confirm) | (OrderStatus::Cancelled, Transition::Cancel) => Ok(order),
        _ if current.status == ReservationStatus::Expired => Err(OrderError::ReservationExpired),
        (status, _) => Err(OrderError::InvalidState(status)),
    }
}

/// Brings a held order in line with its reservation, which inventory has to send `within` this time; `true` if the order
/// ended with it.
///
/// # Errors
/// A dependency failed; the order is reviewed again.
pub async fn review(placement: &OrderPlacement, id: Uuid, within: Duration) -> Result<bool, OrderError> {
    let current = query_reservation(placement, id, within).await?;
    apply_reservation(placement, id, &current).await
}

async fn query_reservation(placement: &OrderPlacement, id: Uuid, within: Duration) -> Result<Reservation, OrderError> {
    let found = placement.section().inventory.find_reservation(id, Instant::now() + within).await;
    found
        .map_err(|error| OrderError::inventory(error.kind(), error))?
        .ok_or(OrderError::Defect("inventory has no reservation of a held order"))
}

async fn apply_reservation(
    placement: &OrderPlacement,
    id: Uuid,
    reservation: &Reservation,
) -> Result<bool, OrderError> {
    let (status, failure) = match reservation.status {
        ReservationStatus::Held => return Ok(false),
        ReservationStatus::Confirmed => (OrderStatus::Confirmed, None),
        ReservationStatus::Cancelled => (OrderStatus::Cancelled, None),
        ReservationStatus::Expired => (OrderStatus::Cancelled, Some(ProblemCode::ReservationExpired)),
    };
    Ok(placement.db.conclude(id, status, reservation, failure).await?)
}
