//! The pool of connections to the order database, and its schema. The queries
//! are in the sibling files, one for each table.

use std::{sync::Arc, time::Duration};

use failure_kind::FailureKind;
use postgres_pool::{MigrationError, Pool, PoolSettings, Shared, SharedError};
use sqlx::migrate::Migrator;
use uuid::Uuid;

use crate::{
    domain::error::OrderError,
    store::{completions::Complete, known_keys::FindKeys, new_keys::ClaimNewKeys},
};

/// The server's limit for a statement of this service.
pub(super) const STATEMENT_TIMEOUT: Duration = Duration::from_secs(2);

static MIGRATIONS: Migrator = sqlx::migrate!("../../migrations/order");

/// The database of the order service. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Database {
    pub(super) pool: Pool,
    /// The owner of the keys that are claimed here.
    pub(super) replica: Uuid,
    pub(super) new_keys: Shared<ClaimNewKeys>,
    pub(super) completions: Shared<Complete>,
    pub(super) known_keys: Shared<FindKeys>,
    url: String,
}

impl Database {
    /// Connects to nothing yet. Keys are claimed in the name of `replica`.
    ///
    /// # Errors
    /// The URL is not one of Postgres.
    pub fn new(url: &str, connections: u32, replica: Uuid) -> Result<Self, sqlx::Error> {
        let pool = PoolSettings {
            application: "order",
            connections,
            statement_timeout: STATEMENT_TIMEOUT,
            options: &[("lock_timeout", "1000"), ("idle_in_transaction_session_timeout", "5000")],
        };
        let pool = pool.pool(url)?;
        let new_keys = Shared::new(ClaimNewKeys { pool: pool.clone(), replica });
        let completions = Shared::new(Complete { pool: pool.clone() });
        let known_keys = Shared::new(FindKeys { pool: pool.clone() });
        Ok(Self { pool, replica, new_keys, completions, known_keys, url: url.to_owned() })
    }

    /// Brings the schema up to date; replicas that start together wait for each other, on a connection of their own.
    ///
    /// # Errors
    /// The database is unreachable or silent, or a newer version has migrated it.
    pub async fn migrate(&self) -> Result<(), MigrationError> {
        postgres_pool::migrate(&self.url, "order-migrate", &MIGRATIONS, async |_| Ok(())).await
    }

    /// # Errors
    /// The database does not answer, or accepts no writes.
    pub async fn ready(&self) -> Result<(), sqlx::Error> {
        self.pool.ready().await
    }

    /// Closes all connections.
    pub async fn close(&self) {
        self.pool.close().await;
    }

    /// Connections in use, and connections open.
    pub fn pool_usage(&self) -> (u32, u32) {
        let (open, idle) = self.pool.usage();
        (open.saturating_sub(idle), open)
    }
}

impl From<sqlx::Error> for OrderError {
    fn from(error: sqlx::Error) -> Self {
        Self::of_database(FailureKind::of_postgres(&error), Arc::new(error))
    }
}

impl From<SharedError> for OrderError {
    fn from(error: SharedError) -> Self {
        match error {
            SharedError::Overloaded => Self::Overloaded,
            SharedError::Refused(error) | SharedError::Failed(error) => {
                Self::of_database(FailureKind::of_postgres(&error), error)
            }
            SharedError::Ended => Self::Defect("a shared statement ended without a result"),
        }
    }
}
