//! Limits the connections that statements of one SKU use at once. Such statements wait for each other's rows; without a
//! limit, those of a SKU whose row somebody keeps locked would use every connection of the pool, and no other SKU would
//! be sold.
//! Invariant: every wait has a limit, and nothing is kept of SKUs without statements.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use contract::Sku;
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::{Instant, timeout_at},
};

use crate::domain::error::StockError;

/// As long as a statement waits for a connection of the pool: less than any lease.
const WAIT: Duration = Duration::from_secs(1);

/// The statements of each SKU. Cheap to clone.
#[derive(Debug, Clone)]
pub(super) struct SkuConnections {
    most: usize,
    skus: Arc<Mutex<HashMap<Sku, Arc<Semaphore>>>>,
}

/// The right of one statement to a connection, given back by dropping it.
#[derive(Debug)]
pub(super) struct SkuPlace {
    connections: SkuConnections,
    sku: Sku,
    permit: Option<OwnedSemaphorePermit>,
}

impl SkuConnections {
    /// An eighth of the pool for each SKU, at least one connection.
    pub(super) fn of(pool: u32) -> Self {
        Self { most: usize::try_from(pool / 8).unwrap_or(1).max(1), skus: Arc::default() }
    }

    /// Waits for a place for each SKU of a statement, given in SKU order, so that two statements never wait for each other.
    ///
    /// # Errors
    /// `SkuBusy`: a place was not free within a second. The statement was not sent.
    pub(super) async fn places(
        &self,
        skus: impl IntoIterator<Item = &Sku, IntoIter: Send> + Send,
    ) -> Result<Vec<SkuPlace>, StockError> {
        let (by, mut places) = (Instant::now() + WAIT, Vec::new());
        for sku in skus {
            places.push(self.place(sku, by).await?);
        }
        Ok(places)
    }

    async fn place(&self, sku: &Sku, by: Instant) -> Result<SkuPlace, StockError> {
        let semaphore =
            Arc::clone(self.lock().entry(sku.clone()).or_insert_with(|| Arc::new(Semaphore::new(self.most))));
        // Made before the wait, so that its end, whichever it is, forgets the SKU.
        let mut place = SkuPlace { connections: self.clone(), sku: sku.clone(), permit: None };
        let Ok(Ok(permit)) = timeout_at(by, semaphore.acquire_owned()).await else {
            return Err(StockError::SkuBusy { sku: sku.clone(), waited: WAIT });
        };
        place.permit = Some(permit);
        Ok(place)
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Sku, Arc<Semaphore>>> {
        self.skus.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for SkuPlace {
    fn drop(&mut self) {
        let mut skus = self.connections.lock();
        drop(self.permit.take());
        if skus.get(&self.sku).is_some_and(|semaphore| Arc::strong_count(semaphore) == 1) {
            skus.remove(&self.sku);
        }
    }
}
