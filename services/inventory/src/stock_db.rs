//! All the SQL of inventory. Nothing here decides; nothing elsewhere queries.
//! Invariant: stock changes only through the functions of `migrations/inventory/0002_protocol.sql`.

mod batch;
mod refusal;
mod rows;

use std::{str::FromStr as _, time::Duration};

use sqlx::{
    Connection as _, PgConnection, PgPool,
    migrate::Migrator,
    postgres::{PgConnectOptions, PgPoolOptions},
};
use uuid::Uuid;

pub use self::rows::{ReservationLine, Snapshot, StoredReservation};
use crate::{
    stock::{Sku, Wanted},
    stock_error::{Step, StockError},
    strategy::TokenSource,
};

/// How long anybody waits for a connection: less than any lease worth having.
pub const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(1);

static MIGRATIONS: Migrator = sqlx::migrate!("../../migrations/inventory");

/// The service's own database. Cheap to clone.
#[derive(Debug, Clone)]
pub struct StockDb {
    pool: PgPool,
}

impl StockDb {
    /// Connects, and brings the schema up to date.
    ///
    /// # Errors
    /// Postgres is away, or the schema is not ours.
    pub async fn connect(url: &str, pool: u32) -> Result<Self, sqlx::Error> {
        let options = PgConnectOptions::from_str(url)?.application_name("inventory").options([
            ("statement_timeout", "5s"),
            ("lock_timeout", "3s"),
            ("idle_in_transaction_session_timeout", "5s"),
        ]);
        // On a connection of its own: start-up may take longer than anybody may wait for one later.
        let mut migrating = PgConnection::connect_with(&options).await?;
        MIGRATIONS.run(&mut migrating).await?;
        migrating.close().await?;
        let pool = PgPoolOptions::new()
            .max_connections(pool)
            .acquire_timeout(ACQUIRE_TIMEOUT)
            .test_before_acquire(false)
            .connect_lazy_with(options);
        Ok(Self { pool })
    }

    /// Does Postgres answer?
    pub async fn ready(&self) -> Result<(), StockError> {
        sqlx::query("select 1").execute(&self.pool).await.map(drop).map_err(refusal::unavailable)
    }

    /// Waits for connections in use, then closes all.
    pub async fn close(&self) {
        self.pool.close().await;
    }

    /// Sets what there is of a SKU, creating it if need be.
    pub async fn put(&self, sku: &Sku, on_hand: i64) -> Result<Snapshot, StockError> {
        let put = sqlx::query_as("select * from stock_put($1, $2)").bind(sku.as_ref()).bind(on_hand);
        put.fetch_one(&self.pool).await.map_err(|e| refusal::understand(e, Step::Write))
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
            Err(error) => Err(self.note_refusal(refusal::understand(error, Step::Claim), None).await),
        }
    }

    /// Sets units aside for an order. A write that comes twice finds what the first one did.
    pub async fn reserve(&self, wanted: &Wanted) -> Result<StoredReservation, StockError> {
        let skus: Vec<_> = wanted.lines.keys().map(AsRef::as_ref).collect();
        let lines = wanted.lines.values();
        let quantities: Vec<_> = lines.clone().map(|line| line.quantity).collect();
        let tokens: Vec<_> = lines.clone().map(|line| line.token).collect();
        let observed: Vec<_> = lines.map(|line| line.observed).collect();
        let strategy = wanted.strategy;
        let id = Uuid::now_v7();
        let written = sqlx::query("select reserve($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)")
            .bind(id)
            .bind(wanted.order_id)
            .bind(strategy.name())
            .bind(strategy.check().name())
            .bind(strategy.tokens().map(TokenSource::name))
            .bind(wanted.fingerprint())
            .bind(wanted.hold_seconds)
            .bind(skus)
            .bind(quantities)
            .bind(tokens)
            .bind(observed)
            .execute(&self.pool)
            .await;
        match written {
            Ok(_) => self.reservation(id).await,
            Err(error) => {
                let refused = refusal::understand(error, Step::Write);
                self.stored_before(wanted, refused).await
            }
        }
    }

    /// A refused write may be the second copy of one that went through.
    async fn stored_before(&self, wanted: &Wanted, refused: StockError) -> Result<StoredReservation, StockError> {
        let second_copy = matches!(refused, StockError::StaleToken { .. } | StockError::OrderReservedOtherwise { .. });
        if second_copy {
            match self.reservation_of(wanted.order_id).await {
                Ok(stored) if stored.fingerprint == wanted.fingerprint() => return Ok(stored),
                Ok(_) => {
                    return Err(StockError::OrderReservedOtherwise { order_id: wanted.order_id });
                }
                Err(StockError::UnknownReservation) => {}
                Err(error) => return Err(error),
            }
        }
        Err(self.note_refusal(refused, Some(wanted.order_id)).await)
    }

    /// A stale token is evidence; it is kept although the transaction that brought it is gone.
    async fn note_refusal(&self, refused: StockError, order_id: Option<Uuid>) -> StockError {
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
