//! The pool of connections to the order database, and its schema. The queries
//! are in the sibling files, one for each table.

use std::{str::FromStr, time::Duration};

use sqlx::{
    PgPool,
    migrate::{MigrateError, Migrator},
    postgres::{PgConnectOptions, PgPoolOptions},
};

use crate::domain::error::OrderError;

/// How long a query waits for a connection: less than any lease.
pub(super) const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(1);

static MIGRATIONS: Migrator = sqlx::migrate!("../../migrations/order");

/// The database of the order service. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Database {
    pub(super) pool: PgPool,
}

impl Database {
    /// Connects to nothing yet.
    ///
    /// # Errors
    /// The URL is not one of Postgres.
    pub fn new(url: &str, connections: u32) -> Result<Self, sqlx::Error> {
        let options = PgConnectOptions::from_str(url)?.application_name("order").options([
            ("statement_timeout", "2000"),
            ("lock_timeout", "1000"),
            ("idle_in_transaction_session_timeout", "5000"),
        ]);
        let pool = PgPoolOptions::new()
            .max_connections(connections)
            .acquire_timeout(ACQUIRE_TIMEOUT)
            .connect_lazy_with(options);
        Ok(Self { pool })
    }

    /// Brings the schema up to date; replicas that start together wait for each other.
    ///
    /// # Errors
    /// The database is unreachable, or a newer version has migrated it.
    pub async fn migrate(&self) -> Result<(), MigrateError> {
        MIGRATIONS.run(&self.pool).await
    }

    /// # Errors
    /// The database does not answer.
    pub async fn ready(&self) -> Result<(), sqlx::Error> {
        sqlx::query("select 1").execute(&self.pool).await.map(|_| ())
    }

    /// Closes all connections.
    pub async fn close(&self) {
        self.pool.close().await;
    }

    /// Connections in use, and connections open.
    pub fn pool_usage(&self) -> (u32, u32) {
        let open = self.pool.size();
        let idle = u32::try_from(self.pool.num_idle()).unwrap_or(u32::MAX);
        (open.saturating_sub(idle), open)
    }
}

impl From<sqlx::Error> for OrderError {
    fn from(error: sqlx::Error) -> Self {
        Self::Database(std::sync::Arc::new(error))
    }
}
