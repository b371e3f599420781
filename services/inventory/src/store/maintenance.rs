//! The SQL of what inventory changes by itself: confirm, release, set stock. Nothing here decides.

use std::collections::{BTreeMap, BTreeSet};

use contract::{Sku, TokenSource};
use sqlx::types::Json;
use uuid::Uuid;

use crate::{
    domain::{
        error::{ProtocolStep, StockError},
        release::{EndedHold, ReleaseRequest},
        stock::StockSnapshot,
    },
    store::{sql_error, stock_db::StockDb},
};

impl StockDb {
    /// Sets the units on hand of a SKU, creating the SKU if it does not exist; with a token of Redlock, or without
    /// one by incrementing the fence.
    pub async fn set_stock(&self, sku: &Sku, on_hand: i64, token: Option<i64>) -> Result<StockSnapshot, StockError> {
        let _places = self.skus.places([sku]).await?;
        let put = sqlx::query_as("select * from stock_put($1, $2, $3, $4)").bind(sku.as_str()).bind(on_hand);
        match put.bind(token).bind(TokenSource::Redlock.name()).fetch_one(&self.pool).await {
            Ok(snapshot) => Ok(snapshot),
            Err(error) => Err(self.record_refusal(sql_error::from_db_error(error, ProtocolStep::Write), None).await),
        }
    }

    /// Those of the SKUs that take their tokens from Redlock. The others have another source, or none yet.
    pub async fn redlock_skus(&self, skus: &BTreeSet<Sku>) -> Result<Vec<Sku>, StockError> {
        let read = "select coalesce(jsonb_agg(sku order by sku), '[]') from stock
                     where sku = any($1) and token_source = $2";
        let read = sqlx::query_scalar(read).bind(skus.iter().map(Sku::as_str).collect::<Vec<_>>());
        let bound = read.bind(TokenSource::Redlock.name()).fetch_one(&self.pool).await;
        bound.map(|Json(skus)| skus).map_err(sql_error::from_read_error)
    }

    /// Makes a hold final; false if the reservation is not held any more, or the hold has ended.
    pub async fn confirm(&self, id: Uuid) -> Result<bool, StockError> {
        let confirm = sqlx::query_scalar("select reservation_confirm($1)").bind(id);
        confirm.fetch_one(&self.pool).await.map_err(sql_error::from_read_error)
    }

    /// Ends whole reservations and returns their units, in one transaction. Returns the ids of those that were held.
    pub async fn release(
        &self,
        request: &ReleaseRequest,
        tokens: &BTreeMap<Sku, i64>,
    ) -> Result<Vec<Uuid>, StockError> {
        let _places = self.skus.places(&request.skus).await?;
        let release = sqlx::query_scalar("select reservations_release($1, $2, $3, $4, $5)")
            .bind(&request.ids)
            .bind(request.reason.name())
            .bind(TokenSource::Redlock.name())
            .bind(tokens.keys().map(Sku::as_str).collect::<Vec<_>>())
            .bind(tokens.values().copied().collect::<Vec<_>>());
        match release.fetch_all(&self.pool).await {
            Ok(ended) => Ok(ended),
            Err(error) => Err(self.record_refusal(sql_error::from_db_error(error, ProtocolStep::Write), None).await),
        }
    }

    /// Those SKUs of reservations of which another transaction has locked a row at this moment: the SKU's, or that of a
    /// reservation with it. Waits for no row.
    pub async fn locked_skus(&self, reservations: &[Uuid]) -> Result<BTreeSet<Sku>, StockError> {
        let read = "select coalesce(jsonb_agg(sku), '[]') from reservations_locked($1) as locked (sku)";
        let locked = sqlx::query_scalar(read).bind(reservations).fetch_one(&self.pool).await;
        locked.map(|Json(skus)| skus).map_err(sql_error::from_read_error)
    }

    /// Held reservations whose hold has ended, the longest ended first, at most `limit`, without those that have a line
    /// of one of `skip`.
    pub async fn ended_holds(&self, limit: i64, skip: &[&str]) -> Result<Vec<EndedHold>, StockError> {
        let read = "select r.id, (select jsonb_agg(l.sku order by l.sku) from reservation_lines l
                                   where l.reservation_id = r.id) as skus
                      from reservations r where r.status = 'held' and r.expires_at <= now()
                       and not exists (select from reservation_lines l
                                        where l.reservation_id = r.id and l.sku = any($2))
                     order by r.expires_at, r.id limit $1";
        sqlx::query_as(read).bind(limit).bind(skip).fetch_all(&self.pool).await.map_err(sql_error::from_read_error)
    }
}
