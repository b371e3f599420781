//! The connection pool of the service's own database.

use contract::Sku;
use sqlx::PgPool;

use crate::{
    domain::{error::StockError, stock::StockSnapshot},
    store::{
        connect::{ConnectError, Database, connect},
        sql_error,
    },
};

/// The database with the stock. Cheap to clone.
#[derive(Debug, Clone)]
pub struct StockDb {
    pub(super) pool: PgPool,
}

impl StockDb {
    /// Migrates the schema, and connects when the database is first used.
    ///
    /// # Errors
    /// Postgres is unavailable, or the database is not one of this service.
    pub async fn connect(database: &Database) -> Result<Self, ConnectError> {
        Ok(Self { pool: connect(database).await? })
    }

    /// How many connections are open, and how many of them are idle.
    pub fn connections(&self) -> (u32, usize) {
        (self.pool.size(), self.pool.num_idle())
    }

    /// Succeeds if Postgres answers a query.
    pub async fn ready(&self) -> Result<(), StockError> {
        sqlx::query("select 1").execute(&self.pool).await.map(drop).map_err(sql_error::from_read_error)
    }

    /// Waits for the connections in use, then closes all.
    pub async fn close(&self) {
        self.pool.close().await;
    }

    /// One SKU.
    pub async fn snapshot(&self, sku: &Sku) -> Result<StockSnapshot, StockError> {
        let read = "select sku, on_hand, available, fence, version from stock where sku = $1";
        let found = sqlx::query_as(read).bind(sku.as_str()).fetch_optional(&self.pool).await;
        found.map_err(sql_error::from_read_error)?.ok_or_else(|| StockError::UnknownSku { sku: sku.to_string() })
    }

    /// The SKUs after `after`, in order, at most `limit`.
    pub async fn page(&self, after: &str, limit: i64) -> Result<Vec<StockSnapshot>, StockError> {
        let read = "select sku, on_hand, available, fence, version from stock
                     where sku > $1 order by sku limit $2";
        let found = sqlx::query_as(read).bind(after).bind(limit).fetch_all(&self.pool).await;
        found.map_err(sql_error::from_read_error)
    }
}
