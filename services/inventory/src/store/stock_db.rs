//! All the SQL of inventory. Nothing here decides; nothing elsewhere queries.
//! Invariant: stock changes only through the functions of `migrations/inventory/0002_protocol.sql`; the role that
//! this connects as could not do otherwise.

use sqlx::PgPool;
use uuid::Uuid;

use super::{ConnectError, Database, EndedHold, Snapshot, StoredReservation, connect, refusal, rows};
use crate::{
    domain::error::{ProtocolStep, StockError},
    domain::stock::{ReserveRequest, Sku},
    maintenance::changes::ReleaseRequest,
    strategy::TokenSource,
};

/// The service's own database. Cheap to clone.
#[derive(Debug, Clone)]
pub struct StockDb {
    pub(super) pool: PgPool,
}

impl StockDb {
    /// Brings the schema up to date, and connects when it is first used.
    ///
    /// # Errors
    /// Postgres is away, or the schema is not ours.
    pub async fn connect(database: &Database) -> Result<Self, ConnectError> {
        Ok(Self { pool: connect::connect(database).await? })
    }

    /// How many connections are open, and how many of them idle.
    pub fn connections(&self) -> (u32, usize) {
        (self.pool.size(), self.pool.num_idle())
    }

    /// Does Postgres answer?
    pub async fn ready(&self) -> Result<(), StockError> {
        sqlx::query("select 1").execute(&self.pool).await.map(drop).map_err(refusal::unavailable)
    }

    /// Waits for connections in use, then closes all.
    pub async fn close(&self) {
        self.pool.close().await;
    }

    /// Sets what there is of a SKU, creating it if need be; with a token of Redlock, or by moving the fence.
    pub async fn put(&self, sku: &Sku, on_hand: i64, token: Option<i64>) -> Result<Snapshot, StockError> {
        let put = sqlx::query_as("select * from stock_put($1, $2, $3, $4)").bind(sku.as_ref()).bind(on_hand);
        match put.bind(token).bind(TokenSource::Redlock.name()).fetch_one(&self.pool).await {
            Ok(snapshot) => Ok(snapshot),
            Err(error) => Err(self.note_refusal(refusal::from_db_error(error, ProtocolStep::Write), None).await),
        }
    }

    /// Which of these SKUs take their tokens from Redlock; the others are nobody's yet, or of another source.
    pub async fn redlock_skus(&self, skus: &[String]) -> Result<Vec<String>, StockError> {
        let read = "select sku from stock where sku = any($1) and token_source = $2 order by sku";
        let bound = sqlx::query_scalar(read).bind(skus).bind(TokenSource::Redlock.name());
        bound.fetch_all(&self.pool).await.map_err(refusal::unavailable)
    }

    /// Makes a hold final; false if it is not held any more, or its time is over.
    pub async fn confirm(&self, id: Uuid) -> Result<bool, StockError> {
        let confirm = sqlx::query_scalar("select reservation_confirm($1)").bind(id);
        confirm.fetch_one(&self.pool).await.map_err(refusal::unavailable)
    }

    /// Ends whole reservations and gives their units back, in one transaction; returns those that were held.
    pub async fn release(&self, request: &ReleaseRequest, tokens: &[(String, i64)]) -> Result<Vec<Uuid>, StockError> {
        let (skus, tokens): (Vec<_>, Vec<_>) = tokens.iter().map(|(sku, token)| (sku.as_str(), *token)).unzip();
        let release = sqlx::query_scalar("select reservations_release($1, $2, $3, $4, $5)")
            .bind(&request.ids)
            .bind(request.reason.name())
            .bind(TokenSource::Redlock.name())
            .bind(skus)
            .bind(tokens);
        match release.fetch_all(&self.pool).await {
            Ok(ended) => Ok(ended),
            Err(error) => Err(self.note_refusal(refusal::from_db_error(error, ProtocolStep::Write), None).await),
        }
    }

    /// Holds that have ended, the oldest first, at most `limit`.
    pub async fn due(&self, limit: i64) -> Result<Vec<EndedHold>, StockError> {
        sqlx::query_as(rows::DUE).bind(limit).fetch_all(&self.pool).await.map_err(refusal::unavailable)
    }

    /// One SKU as it stands.
    pub async fn snapshot(&self, sku: &Sku) -> Result<Snapshot, StockError> {
        let read = "select sku, on_hand, available, fence, version from stock where sku = $1";
        let found = sqlx::query_as(read).bind(sku.as_ref()).fetch_optional(&self.pool).await;
        found.map_err(refusal::unavailable)?.ok_or_else(|| StockError::UnknownSku { sku: sku.to_string() })
    }

    /// SKUs after `after`, in order, at most `limit`.
    pub async fn page(&self, after: &str, limit: i64) -> Result<Vec<Snapshot>, StockError> {
        let read = "select sku, on_hand, available, fence, version from stock
                     where sku > $1 order by sku limit $2";
        let found = sqlx::query_as(read).bind(after).bind(limit).fetch_all(&self.pool).await;
        found.map_err(refusal::unavailable)
    }

    /// Registers the tokens, all or none, and reads what they protect. `lines` come in SKU order.
    ///
    /// One statement, so one transaction and one round trip: it is committed when this returns.
    pub async fn claim(&self, lines: &[(Sku, i64)], source: TokenSource) -> Result<Vec<Snapshot>, StockError> {
        let (skus, tokens): (Vec<_>, Vec<_>) = lines.iter().map(|(sku, token)| (sku.as_ref(), *token)).unzip();
        let claim = "select c.* from unnest($1::text[], $2::bigint[]) with ordinality as l (sku, token, n)
                      cross join lateral stock_claim(l.sku, l.token, $3) as c order by l.n";
        let claim = sqlx::query_as(claim).bind(skus).bind(tokens).bind(source.name());
        match claim.fetch_all(&self.pool).await {
            Ok(snapshots) => Ok(snapshots),
            Err(error) => Err(self.note_refusal(refusal::from_db_error(error, ProtocolStep::Claim), None).await),
        }
    }

    /// Sets units aside for an order. A write that comes twice finds what the first one did.
    pub async fn reserve(&self, request: &ReserveRequest) -> Result<StoredReservation, StockError> {
        let skus: Vec<_> = request.lines.keys().map(AsRef::as_ref).collect();
        let lines = request.lines.values();
        let quantities: Vec<_> = lines.clone().map(|line| line.quantity).collect();
        let tokens: Vec<_> = lines.clone().map(|line| line.token).collect();
        let observed: Vec<_> = lines.clone().map(|line| line.observed).collect();
        let versions: Vec<_> = lines.map(|line| line.version).collect();
        let strategy = request.strategy;
        let id = Uuid::now_v7();
        let written = sqlx::query("select reserve($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)")
            .bind(id)
            .bind(request.order_id)
            .bind(strategy.name())
            .bind(strategy.check().name())
            .bind(strategy.token_source().map(TokenSource::name))
            .bind(request.fingerprint())
            .bind(request.hold_seconds)
            .bind(skus)
            .bind(quantities)
            .bind(tokens)
            .bind(observed)
            .bind(versions)
            .execute(&self.pool)
            .await;
        match written {
            Ok(_) => self.reservation(id).await,
            Err(error) => {
                let refused = refusal::from_db_error(error, ProtocolStep::Write);
                self.recognise_stored(request, refused).await
            }
        }
    }

    /// A refused write may be the second copy of one that went through.
    async fn recognise_stored(
        &self,
        request: &ReserveRequest,
        refused: StockError,
    ) -> Result<StoredReservation, StockError> {
        let second_copy = matches!(
            refused,
            StockError::StaleToken { .. }
                | StockError::StaleVersion { .. }
                | StockError::OutOfStock { .. }
                | StockError::OrderAlreadyReserved { .. }
        );
        if second_copy {
            match self.reservation_of(request.order_id).await {
                Ok(stored) if stored.fingerprint == request.fingerprint() => return Ok(stored),
                Ok(_) => {
                    return Err(StockError::OrderAlreadyReserved { order_id: request.order_id });
                }
                Err(StockError::UnknownReservation) => {}
                Err(error) => return Err(error),
            }
        }
        Err(self.note_refusal(refused, Some(request.order_id)).await)
    }

    /// A stale token is evidence; it is kept although the transaction that brought it is gone.
    pub(super) async fn note_refusal(&self, refused: StockError, order_id: Option<Uuid>) -> StockError {
        if let StockError::StaleToken { sku, token, current, step } = &refused {
            metrics::counter!("inventory_stale_tokens_total", "step" => step.name()).increment(1);
            let note = "insert into fence_refusals (sku, token, current, step, order_id) values ($1, $2, $3, $4, $5)";
            let note = sqlx::query(note).bind(sku).bind(token).bind(current).bind(step.name()).bind(order_id);
            if let Err(error) = note.execute(&self.pool).await {
                tracing::warn!(%error, sku, token, "a refusal could not be noted");
            }
        }
        refused
    }

    /// A reservation by its id.
    pub async fn reservation(&self, id: Uuid) -> Result<StoredReservation, StockError> {
        let read = sqlx::query_as(rows::RESERVATION_BY_ID).bind(id);
        let found = read.fetch_optional(&self.pool).await.map_err(refusal::unavailable)?;
        found.ok_or(StockError::UnknownReservation)
    }

    /// The reservation of an order.
    pub async fn reservation_of(&self, order_id: Uuid) -> Result<StoredReservation, StockError> {
        let read = sqlx::query_as(rows::RESERVATION_BY_ORDER).bind(order_id);
        let found = read.fetch_optional(&self.pool).await.map_err(refusal::unavailable)?;
        found.ok_or(StockError::UnknownReservation)
    }
}
