//! The connection pool of the service's own database.

use contract::Sku;
use postgres_pool::{Pool, Shared};

use crate::{
    domain::{error::StockError, stock::StockSnapshot},
    store::{
        connect::{ConnectError, Database, connect},
        shared_claims::ClaimTokens,
        shared_writes::WriteFenced,
        sku_connections::SkuConnections,
        sql_error,
    },
};

/// The database with the stock. Cheap to clone.
#[derive(Debug, Clone)]
pub struct StockDb {
    pub(super) pool: Pool,
    pub(super) skus: SkuConnections,
    pub(super) claims: Shared<ClaimTokens>,
    pub(super) fenced_writes: Shared<WriteFenced>,
}

impl StockDb {
    /// Migrates the schema, and connects when the database is first used.
    ///
    /// # Errors
    /// Postgres is unavailable, or the database is not one of this service.
    pub async fn connect(database: &Database) -> Result<Self, ConnectError> {
        let pool = connect(database).await?;
        let claims = Shared::new(ClaimTokens { pool: pool.clone() });
        let fenced_writes = Shared::new(WriteFenced { pool: pool.clone() });
        Ok(Self { pool, skus: SkuConnections::of(database.pool), claims, fenced_writes })
    }

    /// How many connections are open, and how many of them are idle.
    pub fn connections(&self) -> (u32, u32) {
        self.pool.usage()
    }

    /// Succeeds if Postgres answers and accepts writes.
    pub async fn ready(&self) -> Result<(), StockError> {
        self.pool.ready().await.map_err(sql_error::from_read_error)
    }

    /// Closes all connections; those in use have a short time to finish.
    pub async fn close(&self) {
        self.pool.close().await;
    }

    /// One SKU.
    pub async fn snapshot(&self, sku: &Sku) -> Result<StockSnapshot, StockError> {
        let read = "select sku, on_hand, available, fence, version from stock where sku = $1";
        let found = sqlx::query_as(read).bind(sku.as_str()).fetch_optional(&self.pool).await;
        found.map_err(sql_error::from_read_error)?.ok_or_else(|| StockError::UnknownSku { sku: sku.to_string() })
    }

    /// Those of these SKUs that exist, in no order.
    pub async fn stock_of(&self, skus: &[Sku]) -> Result<Vec<StockSnapshot>, StockError> {
        let read = "select sku, on_hand, available, fence, version from stock where sku = any($1)";
        let read = sqlx::query_as(read).bind(skus.iter().map(Sku::as_str).collect::<Vec<_>>());
        read.fetch_all(&self.pool).await.map_err(sql_error::from_read_error)
    }

    /// The SKUs after `after`, in order, at most `limit`.
    pub async fn page(&self, after: &str, limit: i64) -> Result<Vec<StockSnapshot>, StockError> {
        let read = "select sku, on_hand, available, fence, version from stock
                     where sku > $1 order by sku limit $2";
        let found = sqlx::query_as(read).bind(after).bind(limit).fetch_all(&self.pool).await;
        found.map_err(sql_error::from_read_error)
    }
}
