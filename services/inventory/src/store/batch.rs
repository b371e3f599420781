//! The SQL of a batch: one write for all its orders. Nothing here decides.

use uuid::Uuid;

use super::{StockDb, StoredReservation, refusal, rows};
use crate::{
    domain::batch::{Batch, BatchOrder, Plan},
    domain::error::{ProtocolStep, StockError},
    strategy::TokenSource,
};

/// Each try leaves out whoever turned out to have a reservation; nobody but retries of the same orders adds any.
const MAX_ATTEMPTS: usize = 3;

impl StockDb {
    /// Sets units aside for all these orders; how each of them ended, in order.
    ///
    /// # Errors
    /// None of them was written.
    pub async fn reserve_batch(&self, batch: &Batch) -> Result<Vec<Result<StoredReservation, StockError>>, StockError> {
        let orders: Vec<_> = batch.orders.iter().map(|order| order.order_id).collect();
        let mut known = Vec::new();
        let mut tries = 0;
        loop {
            let plan = batch.plan(|order| known.iter().any(|stored: &StoredReservation| stored.order_id == order));
            tries += 1;
            match self.write_batch(batch, &plan).await {
                Ok(()) => return self.outcomes_of(batch, plan, &orders).await,
                Err(StockError::OrderAlreadyReserved { .. }) if tries < MAX_ATTEMPTS => {
                    known = self.reservations_of(&orders).await?;
                }
                Err(refused) => return self.recognise_stored_batch(batch, &orders, refused).await,
            }
        }
    }

    async fn write_batch(&self, batch: &Batch, plan: &Plan) -> Result<(), StockError> {
        if plan.served.is_empty() {
            return Ok(());
        }
        let moving: Vec<_> = batch.stock.iter().filter(|(sku, _)| plan.after.contains_key(sku)).collect();
        let served = || plan.served.iter().map(|(order_id, _)| *order_id);
        let ids: Vec<_> = plan.served.iter().map(|_| Uuid::now_v7()).collect();
        let fingerprint = |id| batch.orders.iter().find(|o| o.order_id == id).map(BatchOrder::fingerprint);
        let lines = || plan.served.iter().zip(&ids).flat_map(|((_, lines), id)| lines.iter().map(move |l| (*id, l)));
        let written = sqlx::query("select reserve_batch($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14)")
            .bind(batch.strategy.name())
            .bind(batch.strategy.token_source().map(TokenSource::name))
            .bind(batch.hold_seconds)
            .bind(moving.iter().map(|(sku, _)| sku.as_ref()).collect::<Vec<_>>())
            .bind(moving.iter().map(|(_, claimed)| claimed.token).collect::<Vec<_>>())
            .bind(plan.after.values().copied().collect::<Vec<_>>())
            .bind(&ids)
            .bind(served().collect::<Vec<_>>())
            .bind(served().map(fingerprint).collect::<Vec<_>>())
            .bind(lines().map(|(id, _)| id).collect::<Vec<_>>())
            .bind(lines().map(|(_, line)| line.sku.as_ref()).collect::<Vec<_>>())
            .bind(lines().map(|(_, line)| line.quantity).collect::<Vec<_>>())
            .bind(lines().map(|(_, line)| line.token).collect::<Vec<_>>())
            .bind(lines().map(|(_, line)| line.before).collect::<Vec<_>>())
            .execute(&self.pool)
            .await;
        written.map(drop).map_err(|error| refusal::from_db_error(error, ProtocolStep::Write))
    }

    async fn outcomes_of(
        &self,
        batch: &Batch,
        plan: Plan,
        orders: &[Uuid],
    ) -> Result<Vec<Result<StoredReservation, StockError>>, StockError> {
        let (mut stored, mut refused) = (self.reservations_of(orders).await?, plan.refused);
        let end = |order: &BatchOrder| {
            let order_id = order.order_id;
            if let Some(at) = stored.iter().position(|one| one.order_id == order_id) {
                let one = stored.swap_remove(at);
                let same = one.fingerprint == order.fingerprint();
                return if same { Ok(one) } else { Err(StockError::OrderAlreadyReserved { order_id }) };
            }
            let at = refused.iter().position(|(id, _)| *id == order_id);
            Err(at.map_or(StockError::UnknownReservation, |at| refused.swap_remove(at).1))
        };
        Ok(batch.orders.iter().map(end).collect())
    }

    /// A refused batch may be the second copy of one that went through. Then all its orders were written with
    /// its very tokens; with newer ones, they were written by somebody else, and this one is late.
    async fn recognise_stored_batch(
        &self,
        batch: &Batch,
        orders: &[Uuid],
        mut refused: StockError,
    ) -> Result<Vec<Result<StoredReservation, StockError>>, StockError> {
        let StockError::StaleToken { .. } = &refused else { return Err(refused) };
        let stored = self.reservations_of(orders).await?;
        if stored.len() == orders.len() && stored.iter().all(|one| is_written_with_tokens_of(batch, one)) {
            return self.outcomes_of(batch, Plan::default(), orders).await;
        }
        for order in orders {
            refused = self.note_refusal(refused, Some(*order)).await;
        }
        Err(refused)
    }

    async fn reservations_of(&self, orders: &[Uuid]) -> Result<Vec<StoredReservation>, StockError> {
        let read = sqlx::query_as(rows::RESERVATIONS_BY_ORDERS).bind(orders);
        read.fetch_all(&self.pool).await.map_err(refusal::unavailable)
    }
}

fn is_written_with_tokens_of(batch: &Batch, stored: &StoredReservation) -> bool {
    let token_of = |sku: &str| batch.stock.iter().find(|(s, _)| s.as_ref() == sku).map(|(_, claimed)| claimed.token);
    stored.lines.iter().all(|line| line.fencing_token.is_some() && line.fencing_token == token_of(&line.sku))
}
