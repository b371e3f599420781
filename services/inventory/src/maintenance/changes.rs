//! What inventory changes by itself: reservations are confirmed, cancelled or expired, and stock is set. `release`
//! is the pattern: lock, token, write once, unlock; after a stale token, again with a newer one.
//! Absence: no order calls these while it holds a lock, and no SQL is here.

use std::collections::BTreeMap;

use contract::{ReservationStatus, Sku};
use uuid::Uuid;

use crate::{
    domain::{
        error::StockError,
        release::ReleaseRequest,
        stock::{Reservation, StockSnapshot},
    },
    lab::{Lab, PendingWrite, WriteKind},
    maintenance::stock_lock::StockLocks,
    store::StockDb,
};

/// Changes of reservations and stock under a lock of inventory's own. Cheap to clone.
#[derive(Debug, Clone)]
pub struct ReservationChanges {
    /// The database with the stock.
    pub db: StockDb,
    /// The locks that are acquired before stock changes.
    pub locks: StockLocks,
    /// `None` while the lab is off.
    pub lab: Option<Lab>,
}

impl ReservationChanges {
    /// Makes a hold final. No stock moves, so no lock is needed: the reservation's row lets only one of confirming
    /// and expiring happen. Confirming twice is a success.
    ///
    /// # Errors
    /// `HoldExpired` once the hold has ended, swept or not; `InvalidState` once it was cancelled.
    pub async fn confirm(&self, id: Uuid) -> Result<Reservation, StockError> {
        let confirmed_now = self.db.confirm(id).await?;
        let reservation = self.db.reservation(id).await?;
        match reservation.status {
            ReservationStatus::Confirmed => Ok(reservation),
            ReservationStatus::Held | ReservationStatus::Expired if !confirmed_now => Err(StockError::HoldExpired),
            status @ (ReservationStatus::Held | ReservationStatus::Expired | ReservationStatus::Cancelled) => {
                Err(StockError::InvalidState { status })
            }
        }
    }

    /// Returns the units of a held reservation. Cancelling twice is a success.
    ///
    /// # Errors
    /// `InvalidState` once it is confirmed or has expired; or as [`ReservationChanges::release`].
    pub async fn cancel(&self, id: Uuid) -> Result<Reservation, StockError> {
        let reservation = self.db.reservation(id).await?;
        if reservation.status == ReservationStatus::Held {
            let skus = reservation.lines.into_iter().map(|line| line.sku);
            self.release(&ReleaseRequest::cancel(id, skus)).await?;
        }
        let reservation = self.db.reservation(id).await?;
        match reservation.status {
            ReservationStatus::Cancelled => Ok(reservation),
            status => Err(StockError::InvalidState { status }),
        }
    }

    /// Ends reservations, all in one transaction, and returns the ids of those that were still held.
    ///
    /// # Errors
    /// The lock was not acquired, the token was refused at every attempt, or Postgres is unavailable.
    pub async fn release(&self, request: &ReleaseRequest) -> Result<Vec<Uuid>, StockError> {
        let mut budget = self.locks.retry_budget();
        loop {
            let guard = self.locks.acquire(&self.db, &request.skus, &budget).await?;
            let attempt = match guard.ensure_valid() {
                Ok(()) => self.write_release(request, guard.tokens()).await,
                Err(lapsed) => Err(lapsed),
            };
            guard.release().await;
            if let Some(ended) = self.locks.finish(attempt, &mut budget).await? {
                return Ok(ended);
            }
        }
    }

    /// The lab's pause comes after the last check of the lease, where a real pause does harm.
    async fn write_release(
        &self,
        request: &ReleaseRequest,
        tokens: &BTreeMap<Sku, i64>,
    ) -> Result<Vec<Uuid>, StockError> {
        let write = self.db.release(request, tokens);
        let Some(lab) = &self.lab else { return write.await };
        let pending = PendingWrite {
            kind: WriteKind::Release,
            order_id: request.ids.first().copied(),
            strategy: request.reason.name(),
            tokens: request.skus.iter().map(|sku| (sku.clone(), tokens.get(sku).copied())).collect(),
        };
        lab.send_write(pending, write).await
    }

    /// Sets the units on hand of a SKU, creating the SKU if it does not exist.
    ///
    /// # Errors
    /// `BelowHeld`, or as [`ReservationChanges::release`].
    pub async fn set_stock(&self, sku: &Sku, on_hand: i64) -> Result<StockSnapshot, StockError> {
        let skus = [sku.clone()].into();
        let mut budget = self.locks.retry_budget();
        loop {
            let guard = self.locks.acquire(&self.db, &skus, &budget).await?;
            let attempt = match guard.ensure_valid() {
                Ok(()) => self.db.set_stock(sku, on_hand, guard.tokens().get(sku).copied()).await,
                Err(lapsed) => Err(lapsed),
            };
            guard.release().await;
            if let Some(snapshot) = self.locks.finish(attempt, &mut budget).await? {
                return Ok(snapshot);
            }
        }
    }
}
