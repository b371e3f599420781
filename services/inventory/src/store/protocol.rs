//! The SQL of an order: claim, reserve, and the reservation that was written. The conditions are in
//! `migrations/inventory/0002_protocol.sql`. Nothing here decides.

use std::collections::BTreeMap;

use contract::{Sku, TokenSource, WriteCheck};
use serde_json::json;
use sqlx::types::Json;
use time::OffsetDateTime;
use uuid::Uuid;

use crate::{
    domain::{
        allocation::StockWrite,
        error::{ProtocolStep, StockError},
        stock::{Reservation, ReserveRequest, StockSnapshot},
    },
    store::{
        new_reservation::NewReservation, recorded::Recorded, shared_claims::TokenClaim, shared_writes::FencedWrite,
        sql_error, stock_db::StockDb,
    },
};

macro_rules! select_reservation {
    ($condition:literal) => {
        concat!(
            "select r.id, r.order_id, to_jsonb(r.status) as status, r.fingerprint, r.expires_at, (
                select jsonb_agg(jsonb_build_object('sku', l.sku, 'quantity', l.quantity,
                                                    'fencing_token', l.fencing_token) order by l.sku)
                  from reservation_lines l where l.reservation_id = r.id) as lines
               from reservations r where r.",
            $condition
        )
    };
}

impl StockDb {
    /// Registers the tokens, all or none, and reads what they protect. `tokens` are claimed in SKU order; together with
    /// other claims, unless somebody has locked a row of this one.
    ///
    /// One statement, so one transaction and one round trip: it is committed when this returns.
    pub async fn claim(
        &self,
        tokens: BTreeMap<Sku, i64>,
        source: TokenSource,
    ) -> Result<Vec<StockSnapshot>, StockError> {
        let together = self.claims.run(TokenClaim { tokens: tokens.clone(), source }).await;
        match sql_error::served_together(together)? {
            Some(snapshots) => Ok(snapshots),
            None => self.claim_alone(&tokens, source).await,
        }
    }

    async fn claim_alone(
        &self,
        tokens: &BTreeMap<Sku, i64>,
        source: TokenSource,
    ) -> Result<Vec<StockSnapshot>, StockError> {
        let _places = self.skus.places(tokens.keys()).await?;
        let sql = "select c.* from unnest($1::text[], $2::bigint[]) with ordinality as l (sku, token, n)
                    cross join lateral stock_claim(l.sku, l.token, $3) as c order by l.n";
        let skus: Vec<_> = tokens.keys().map(Sku::as_str).collect();
        let values: Vec<_> = tokens.values().copied().collect();
        let recorded = Recorded { pool: &self.pool, skus: skus.iter().copied(), sql };
        let claim = sqlx::query_as(sql).bind(&skus).bind(&values).bind(source.name()).fetch_all(&self.pool);
        let shown = |rows: &Vec<StockSnapshot>| json!(rows).to_string();
        let claimed = recorded.run(|| json!([skus, values, source.name()]), claim, shown).await;
        match claimed {
            Ok(snapshots) => Ok(snapshots),
            Err(error) => Err(self.record_refusal(sql_error::from_db_error(error, ProtocolStep::Claim), None).await),
        }
    }

    /// Sets units aside for an order; together with other writes, if the strategy is fenced and nobody has locked a row of
    /// this one. A write that arrives twice returns what the first one wrote.
    pub async fn reserve(&self, request: &ReserveRequest) -> Result<Reservation, StockError> {
        let (order_id, fingerprint) = (request.order_id, request.fingerprint());
        let lines = request.lines.values().cloned().collect();
        let reservation = NewReservation { id: Uuid::now_v7(), order_id, fingerprint: fingerprint.clone(), lines };
        if let Some(write) = fenced_write(request, &reservation) {
            let together = self.fenced_writes.run(write).await;
            if let Some(hold_ends) = sql_error::served_together(together)? {
                return reservation.held_until(hold_ends);
            }
        }
        let places = self.skus.places(request.lines.keys()).await?;
        let written = self.reserve_alone(request, &reservation).await;
        drop(places);
        let refused = match written {
            Ok(hold_ends) => return reservation.held_until(hold_ends),
            Err(error) if sql_error::is_duplicate_order(&error) => StockError::OrderAlreadyReserved { order_id },
            Err(error) => sql_error::from_db_error(error, ProtocolStep::Write),
        };
        self.find_first_write(order_id, &fingerprint, refused).await
    }

    async fn reserve_alone(
        &self,
        request: &ReserveRequest,
        reservation: &NewReservation,
    ) -> Result<OffsetDateTime, sqlx::Error> {
        let (strategy, sql) = (request.strategy, "select reserve($1, $2, $3, $4, $5)");
        let (name, check) = (strategy.name(), strategy.check().name());
        let (source, hold) = (strategy.token_source().map(TokenSource::name), request.hold_seconds);
        let skus = request.lines.keys().map(Sku::as_str);
        let write = sqlx::query_scalar(sql).bind(name).bind(check).bind(source).bind(hold).bind(Json(reservation));
        let recorded = Recorded { pool: &self.pool, skus, sql };
        let shown = |hold_ends: &OffsetDateTime| format!("held until {hold_ends}");
        recorded.run(|| json!([name, check, source, hold, reservation]), write.fetch_one(&self.pool), shown).await
    }

    /// A refused write may be the second copy of one that succeeded: then the answer is the stored reservation.
    async fn find_first_write(
        &self,
        order_id: Uuid,
        fingerprint: &str,
        refused: StockError,
    ) -> Result<Reservation, StockError> {
        let may_be_second_copy = matches!(
            refused,
            StockError::StaleToken { .. }
                | StockError::StaleVersion { .. }
                | StockError::OutOfStock { .. }
                | StockError::OrderAlreadyReserved { .. }
        );
        if may_be_second_copy {
            match self.reservation_of_order(order_id).await {
                Ok(stored) if stored.fingerprint == fingerprint => return Ok(stored),
                Ok(_) => return Err(StockError::OrderAlreadyReserved { order_id }),
                Err(StockError::UnknownReservation) => {}
                Err(error) => return Err(error),
            }
        }
        Err(self.record_refusal(refused, Some(order_id)).await)
    }

    /// Records a stale token. The refused transaction was rolled back, so this is another one; if it fails, the
    /// refusal stands and its record is missing.
    pub(super) async fn record_refusal(&self, refused: StockError, order_id: Option<Uuid>) -> StockError {
        if let StockError::StaleToken { sku, token, current, step } = &refused {
            metrics::counter!("inventory_stale_tokens_total", "step" => step.name()).increment(1);
            let insert = "insert into fence_refusals (sku, token, current, step, order_id) values ($1, $2, $3, $4, $5)";
            let insert = sqlx::query(insert).bind(sku.as_str()).bind(token).bind(current);
            if let Err(error) = insert.bind(step.name()).bind(order_id).execute(&self.pool).await {
                tracing::warn!(%error, %sku, token, "refusal of a stale token not recorded in fence_refusals");
            }
        }
        refused
    }

    /// A reservation by its id.
    pub async fn reservation(&self, id: Uuid) -> Result<Reservation, StockError> {
        let read = sqlx::query_as(select_reservation!("id = $1")).bind(id);
        let found = read.fetch_optional(&self.pool).await.map_err(sql_error::from_read_error)?;
        found.ok_or(StockError::UnknownReservation)
    }

    /// The reservation of an order; `PastRetention` if it may have been deleted.
    pub async fn reservation_of_order(&self, order_id: Uuid) -> Result<Reservation, StockError> {
        let read = sqlx::query_as(select_reservation!("order_id = $1")).bind(order_id);
        match read.fetch_optional(&self.pool).await.map_err(sql_error::from_read_error)? {
            Some(found) => Ok(found),
            None if self.may_have_been_deleted(order_id).await? => Err(StockError::PastRetention),
            None => Err(StockError::UnknownReservation),
        }
    }

    /// The reservations of several orders; orders without one are left out.
    pub(super) async fn reservations_of_orders(&self, orders: &[Uuid]) -> Result<Vec<Reservation>, StockError> {
        let read = sqlx::query_as(select_reservation!("order_id = any($1)")).bind(orders);
        read.fetch_all(&self.pool).await.map_err(sql_error::from_read_error)
    }
}

/// The write that can be made together with others; `None` under a strategy without a fence, and for an order that is out
/// of stock, which is refused alone.
fn fenced_write(request: &ReserveRequest, reservation: &NewReservation) -> Option<FencedWrite> {
    let ReserveRequest { strategy, hold_seconds, .. } = *request;
    let source = strategy.token_source().filter(|_| strategy.check() == WriteCheck::Fenced)?;
    let stock = request.lines.iter().map(|(sku, line)| {
        let available = line.observed_available?.checked_sub(line.quantity).filter(|left| *left >= 0)?;
        Some((sku.clone(), StockWrite { fencing_token: line.fencing_token?, available }))
    });
    let reservations = vec![reservation.clone()];
    Some(FencedWrite { strategy, source, hold_seconds, stock: stock.collect::<Option<_>>()?, reservations })
}
