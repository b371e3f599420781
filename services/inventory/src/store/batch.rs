//! The SQL of a batch: one write for all its orders. Nothing here decides; `domain/allocation.rs` does.

use std::collections::BTreeMap;

use contract::Sku;
use serde::Serialize;
use sqlx::types::Json;
use time::OffsetDateTime;
use uuid::Uuid;

use crate::{
    domain::{
        allocation::{Allocation, Batch, BatchOrder, ServedOrder, StockWrite},
        error::{ProtocolStep, StockError},
        stock::Reservation,
    },
    store::{new_reservation::NewReservation, shared_writes::FencedWrite, sql_error, stock_db::StockDb},
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
    /// Sets units aside for all these orders, together with other writes unless somebody has locked a row of this one. The
    /// results are in the order of the batch's orders.
    ///
    /// # Errors
    /// Nothing was written, or nobody knows: what was written is read again, and that can fail.
    pub async fn reserve_batch(&self, batch: &Batch) -> Result<Vec<Result<Reservation, StockError>>, StockError> {
        let orders: Vec<_> = batch.orders.iter().map(|order| order.order_id).collect();
        let mut reserved = Vec::new();
        for _ in 0..MAX_ATTEMPTS {
            let Allocation { served, refused, stock } =
                batch.allocate(|order| reserved.iter().any(|stored: &Reservation| stored.order_id == order));
            let write = batch.write(served, stock)?;
            match self.write_batch(&write).await? {
                Ok(hold_ends) => {
                    let written = write.reservations.into_iter().map(|written| written.held_until(hold_ends));
                    reserved.extend(written.collect::<Result<Vec<_>, _>>()?);
                    if !refused.is_empty() {
                        // An order that is out of stock now may have got its units by an earlier write.
                        let refused: Vec<_> = refused.iter().map(|(order, _)| *order).collect();
                        reserved.extend(self.reservations_of_orders(&refused).await?);
                    }
                    return Ok(results_of(batch, reserved, refused));
                }
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

    /// When the holds end. The inner error is that of the statement.
    async fn write_batch(&self, write: &FencedWrite) -> Result<Result<OffsetDateTime, sqlx::Error>, StockError> {
        if write.reservations.is_empty() {
            return Ok(Ok(OffsetDateTime::UNIX_EPOCH)); // of no hold
        }
        let together = self.fenced_writes.run(write.clone()).await;
        if let Some(hold_ends) = sql_error::served_together(together)? {
            return Ok(Ok(hold_ends));
        }
        let _places = self.skus.places(write.stock.keys()).await?;
        let stock = write.stock.iter().map(|(sku, write)| StockRow { sku: sku.as_str(), write: *write });
        let written = sqlx::query_scalar("select reserve_batch($1, $2, $3, $4, $5)")
            .bind(write.strategy.name())
            .bind(write.source.name())
            .bind(write.hold_seconds)
            .bind(Json(stock.collect::<Vec<_>>()))
            .bind(Json(&write.reservations))
            .fetch_one(&self.pool)
            .await;
        Ok(written)
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
            return Ok(results_of(batch, stored, Vec::new()));
        }
        for order in orders {
            refused = self.record_refusal(refused, Some(*order)).await;
        }
        Err(refused)
    }
}

impl Batch {
    fn write(&self, served: Vec<ServedOrder>, stock: BTreeMap<Sku, StockWrite>) -> Result<FencedWrite, StockError> {
        let source = self.strategy.token_source().ok_or(StockError::Defect("a batch without tokens"))?;
        let reservations = served.into_iter().map(|order| {
            let ServedOrder { order_id, fingerprint, lines } = order;
            NewReservation { id: Uuid::now_v7(), order_id, fingerprint, lines }
        });
        let (strategy, hold_seconds) = (self.strategy, self.hold_seconds);
        Ok(FencedWrite { strategy, source, hold_seconds, stock, reservations: reservations.collect() })
    }
}

/// The result of each order: its reservation, or the reason of its refusal.
fn results_of(
    batch: &Batch,
    reserved: Vec<Reservation>,
    refused: Vec<(Uuid, StockError)>,
) -> Vec<Result<Reservation, StockError>> {
    let mut reserved: BTreeMap<_, _> = reserved.into_iter().map(|stored| (stored.order_id, stored)).collect();
    let mut refused: BTreeMap<_, _> = refused.into_iter().collect();
    let result = |order: &BatchOrder| match reserved.remove(&order.order_id) {
        Some(stored) if stored.fingerprint == order.fingerprint() => Ok(stored),
        Some(_) => Err(StockError::OrderAlreadyReserved { order_id: order.order_id }),
        None => Err(refused.remove(&order.order_id).unwrap_or(StockError::UnknownReservation)),
    };
    batch.orders.iter().map(result).collect()
}

fn has_tokens_of(batch: &Batch, stored: &Reservation) -> bool {
    stored.lines.iter().all(|line| {
        let claimed = batch.stock.get(&line.sku).map(|stock| stock.fencing_token);
        line.fencing_token.is_some() && line.fencing_token == claimed
    })
}
