//! A reservation that is about to be written.

use contract::ReservationStatus;
use serde::Serialize;
use time::OffsetDateTime;
use uuid::Uuid;

use crate::domain::{
    error::StockError,
    stock::{Reservation, ReservationLine, ReserveLine},
};

/// A reservation to be written: the parameter of `reserve` and `reserve_batch`, in SQL the row type
/// `new_reservation`.
#[derive(Debug, Clone, Serialize)]
pub(super) struct NewReservation {
    pub(super) id: Uuid,
    pub(super) order_id: Uuid,
    pub(super) fingerprint: String,
    pub(super) lines: Vec<ReserveLine>,
}

impl NewReservation {
    /// The reservation, once it was written.
    pub(super) fn held_until(self, hold_ends: OffsetDateTime) -> Result<Reservation, StockError> {
        let lines = self.lines.into_iter().map(|line| {
            let ReserveLine { sku, quantity, fencing_token, .. } = line;
            Ok(ReservationLine { sku: sku.parsed(|| "/lines".to_owned())?, quantity, fencing_token })
        });
        Ok(Reservation {
            reservation_id: self.id,
            order_id: self.order_id,
            status: ReservationStatus::Held,
            expires_at: hold_ends,
            lines: lines.collect::<Result<_, _>>()?,
            fingerprint: self.fingerprint,
        })
    }
}
