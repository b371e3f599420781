//! The SQL of a batch: one write for all its orders. Nothing here decides; `domain/allocation.rs` does.

use std::collections::BTreeMap;

use contract::TokenSource;
use serde::Serialize;
use sqlx::types::Json;
use uuid::Uuid;

use crate::{
    domain::{
        allocation::{Allocation, Batch, StockWrite},
        error::{ProtocolStep, StockError},
        stock::Reservation,
    },
    store::{protocol::NewReservation, sql_error, stock_db::StockDb},
};

/// Each attempt leaves out the orders that turned out to have a reservation. Only repeated requests for the same
/// orders add any.
const MAX_ATTEMPTS: usize = 3;

/// One element of the parameter `p_stock` of `reserve_batch`.
#[derive(Serialize)]
struct StockRow<'a> {
    sku: &'a str,
    #[serde(flatten)]
    write: StockWrite,
}

impl StockDb {
    /// Sets units aside for all these orders. The results are in the order of the batch's orders.
    ///
    /// # Errors
    /// Nothing was written.
    pub async fn reserve_batch(&self, batch: &Batch) -> Result<Vec<Result<Reservation, StockError>>, StockError> {
        let orders: Vec<_> = batch.orders.iter().map(|order| order.order_id).collect();
        let mut reserved = Vec::new();
        for _ in 0..MAX_ATTEMPTS {
            let allocation =
                batch.allocate(|order| reserved.iter().any(|stored: &Reservation| stored.order_id == order));
            let places = self.skus.places(allocation.stock.keys()).await?;
            let written = self.write_batch(batch, &allocation).await;
            drop(places);
            match written {
                Ok(()) => return self.results_of(batch, allocation, &orders).await,
                Err(error) if sql_error::is_duplicate_order(&error) => {
                    reserved = self.reservations_of_orders(&orders).await?;
                }
                Err(error) => {
                    let refused = sql_error::from_db_error(error, ProtocolStep::Write);
                    return self.find_first_batch(batch, &orders, refused).await;
                }
            }
        }
        Err(StockError::BatchOverlaps)
    }

    async fn write_batch(&self, batch: &Batch, allocation: &Allocation) -> Result<(), sqlx::Error> {
        if allocation.served.is_empty() {
            return Ok(());
        }
        let stock = allocation.stock.iter().map(|(sku, write)| StockRow { sku: sku.as_str(), write: *write });
        let reservations = allocation.served.iter().map(|order| NewReservation {
            id: Uuid::now_v7(),
            order_id: order.order_id,
            fingerprint: &order.fingerprint,
            lines: order.lines.iter().collect(),
        });
        let written = sqlx::query("select reserve_batch($1, $2, $3, $4, $5)")
            .bind(batch.strategy.name())
            .bind(batch.strategy.token_source().map(TokenSource::name))
            .bind(batch.hold_seconds)
            .bind(Json(stock.collect::<Vec<_>>()))
            .bind(Json(reservations.collect::<Vec<_>>()))
            .execute(&self.pool)
            .await;
        written.map(drop)
    }

    /// The result of each order: its reservation, or the reason of its refusal.
    async fn results_of(
        &self,
        batch: &Batch,
        allocation: Allocation,
        orders: &[Uuid],
    ) -> Result<Vec<Result<Reservation, StockError>>, StockError> {
        let stored = self.reservations_of_orders(orders).await?.into_iter();
        let mut stored: BTreeMap<_, _> = stored.map(|stored| (stored.order_id, stored)).collect();
        let mut refused: BTreeMap<_, _> = allocation.refused.into_iter().collect();
        let results = batch.orders.iter().map(|order| {
            let order_id = order.order_id;
            match stored.remove(&order_id) {
                Some(stored) if stored.fingerprint == order.fingerprint() => Ok(stored),
                Some(_) => Err(StockError::OrderAlreadyReserved { order_id }),
                None => Err(refused.remove(&order_id).unwrap_or(StockError::UnknownReservation)),
            }
        });
        Ok(results.collect())
    }

    /// A refused batch may be the second copy of one that succeeded. Then all its orders were written with exactly
    /// its tokens. If they were written with newer ones, another request wrote them, and this batch came too late.
    async fn find_first_batch(
        &self,
        batch: &Batch,
        orders: &[Uuid],
        mut refused: StockError,
    ) -> Result<Vec<Result<Reservation, StockError>>, StockError> {
        let StockError::StaleToken { .. } = &refused else { return Err(refused) };
        let stored = self.reservations_of_orders(orders).await?;
        if stored.len() == orders.len() && stored.iter().all(|stored| has_tokens_of(batch, stored)) {
            return self.results_of(batch, Allocation::default(), orders).await;
        }
        for order in orders {
            refused = self.record_refusal(refused, Some(*order)).await;
        }
        Err(refused)
    }
}

fn has_tokens_of(batch: &Batch, stored: &Reservation) -> bool {
    stored.lines.iter().all(|line| {
        let claimed = batch.stock.get(&line.sku).map(|stock| stock.fencing_token);
        line.fencing_token.is_some() && line.fencing_token == claimed
    })
}
