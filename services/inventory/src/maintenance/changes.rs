//! What inventory changes by itself: a reservation is cancelled, holds expire, stock is set. Read `release` and
//! you have read it: lock, token, write once, unlock; a stale token tries again with a newer one.
//! Absence: no order calls these while it holds a lock, and no SQL stands here.

use uuid::Uuid;

use crate::{
    domain::error::StockError,
    domain::stock::Sku,
    lab::Lab,
    maintenance::stock_lock::StockLocks,
    store::{Snapshot, StockDb, StoredReservation},
};

/// Why units go back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReleaseReason {
    /// Somebody does not want them any more.
    Cancel,
    /// The hold has ended.
    Expire,
}

impl ReleaseReason {
    /// As in `stock_ledger.kind`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Cancel => "cancel",
            Self::Expire => "expire",
        }
    }
}

/// Whole reservations to end together.
#[derive(Debug, Clone)]
pub struct ReleaseRequest {
    /// Which.
    pub ids: Vec<Uuid>,
    /// All the SKUs that they hold.
    pub skus: Vec<String>,
    /// Why.
    pub reason: ReleaseReason,
}

/// Changes under a lock. Cheap to clone.
#[derive(Debug, Clone)]
pub struct ReservationChanges {
    /// Where stock is.
    pub db: StockDb,
    /// What is taken before it changes.
    pub locks: StockLocks,
    /// There only while the lab is switched on.
    pub lab: Option<Lab>,
}

impl ReservationChanges {
    /// Makes a hold final. No stock moves, so no lock is needed: of confirming and expiring, the row lets one
    /// happen. Asking for what is already so is a success.
    ///
    /// # Errors
    /// `Expired` once the hold has ended, swept or not; `InvalidState` once it was cancelled.
    pub async fn confirm(&self, id: Uuid) -> Result<StoredReservation, StockError> {
        let moved = self.db.confirm(id).await?;
        let now = self.db.reservation(id).await?;
        match now.status.as_str() {
            "confirmed" => Ok(now),
            "held" | "expired" if !moved => Err(StockError::HoldExpired),
            _ => Err(StockError::InvalidState { status: now.status }),
        }
    }

    /// Gives back what a reservation holds. Asking for what is already so is a success.
    ///
    /// # Errors
    /// `InvalidState` once it is confirmed or has expired.
    pub async fn cancel(&self, id: Uuid) -> Result<StoredReservation, StockError> {
        let stored = self.db.reservation(id).await?;
        if stored.status == "held" {
            let skus = stored.lines.0.into_iter().map(|line| line.sku).collect();
            self.release(&ReleaseRequest { ids: vec![id], skus, reason: ReleaseReason::Cancel }).await?;
        }
        let now = self.db.reservation(id).await?;
        if now.status == "cancelled" { Ok(now) } else { Err(StockError::InvalidState { status: now.status }) }
    }

    /// Ends reservations, all of them in one transaction, and returns those that were still held.
    ///
    /// # Errors
    /// The lock could not be had, the token was refused again and again, or Postgres is away.
    pub async fn release(&self, request: &ReleaseRequest) -> Result<Vec<Uuid>, StockError> {
        let mut budget = self.locks.budget();
        loop {
            let guard = self.locks.acquire(&self.db, &request.skus, &budget).await?;
            let ended = match guard.ensure_valid() {
                Ok(()) => self.write(request, guard.tokens()).await,
                Err(lapsed) => Err(lapsed),
            };
            guard.release().await;
            if let Some(done) = self.locks.finish(ended, &mut budget).await? {
                return Ok(done);
            }
        }
    }

    /// A replica that the lab stops, is stopped here: after the last look at its lease, as it would be for real.
    async fn write(&self, request: &ReleaseRequest, tokens: &[(String, i64)]) -> Result<Vec<Uuid>, StockError> {
        let parked = self.lab.as_ref().and_then(|lab| lab.pause_release(request, tokens));
        let ended = self.db.release(request, tokens).await;
        if let Some(lab) = &self.lab {
            lab.ended(parked, &ended);
        }
        ended
    }

    /// Sets what there is of a SKU, creating it if need be.
    ///
    /// # Errors
    /// `BelowHeld`, or as `release`.
    pub async fn put(&self, sku: &Sku, on_hand: i64) -> Result<Snapshot, StockError> {
        let mut budget = self.locks.budget();
        loop {
            let guard = self.locks.acquire(&self.db, &[sku.to_string()], &budget).await?;
            let token = guard.tokens().first().map(|(_, token)| *token);
            let put = match guard.ensure_valid() {
                Ok(()) => self.db.put(sku, on_hand, token).await,
                Err(lapsed) => Err(lapsed),
            };
            guard.release().await;
            if let Some(done) = self.locks.finish(put, &mut budget).await? {
                return Ok(done);
            }
        }
    }
}
