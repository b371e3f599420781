//! Connecting: the schema is migrated as the owner or a superuser; the service works as a role with few rights.

use std::{str::FromStr as _, time::Duration};

use postgres_pool::{MigrationError, Pool, PoolSettings, SessionError};
use sqlx::{Connection as _, PgConnection, migrate::Migrator, postgres::PgConnectOptions};

/// The server's limit for a statement of this service.
const STATEMENT_TIMEOUT: Duration = Duration::from_secs(5);
/// The role of `0003_roles.sql`. Every connection works as this role, whatever role it logs in as.
const ROLE: &str = "inventory_service";

static MIGRATIONS: Migrator = sqlx::migrate!("../../migrations/inventory");
const LAB: &str = include_str!("../../../../migrations/inventory/lab.sql");

/// The database of this service.
#[derive(Debug, Clone)]
pub struct Database {
    /// For the service.
    pub url: String,
    /// For migrations, as the owner or a superuser.
    pub migrate_url: String,
    /// The most connections.
    pub pool: u32,
    /// The unsafe strategies work in it.
    pub lab: bool,
}

impl Database {
    /// Connects to nothing.
    ///
    /// # Errors
    /// The URL is not one of Postgres.
    pub fn check_url(url: &str) -> Result<(), sqlx::Error> {
        PgConnectOptions::from_str(url).map(drop)
    }
}

/// Why the database cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// Postgres is unavailable, or refused the connection.
    #[error("no connection to the database")]
    Connection(#[from] sqlx::Error),
    /// A migration failed, took too long, or the schema is not one of this service.
    #[error("the database could not be migrated")]
    Migration(#[from] MigrationError),
    /// A transaction pooler is in between.
    #[error(transparent)]
    Sessions(#[from] SessionError),
    /// Unsafe strategies could have oversold in it.
    #[error("this database was set up for the lab, where stock is not guarded: use another database, or --lab")]
    LabDatabase,
}

impl ConnectError {
    /// A setting must change: no retry helps.
    pub fn is_configuration(&self) -> bool {
        match self {
            Self::Sessions(error) => error.is_configuration(),
            Self::Migration(error) => error.is_configuration(),
            Self::Connection(_) | Self::LabDatabase => false,
        }
    }
}

/// Migrates the schema, and connects when the database is first used.
///
/// # Errors
/// Postgres is unavailable, the database is not one of this service, or it is one of the lab and the lab is off.
pub(super) async fn connect(database: &Database) -> Result<Pool, ConnectError> {
    postgres_pool::migrate(&database.migrate_url, "inventory-migrate", &MIGRATIONS, async |connection| {
        prepare_lab(connection, database.lab).await
    })
    .await?;
    if database.url != database.migrate_url {
        postgres_pool::require_own_sessions(&database.url.parse()?).await?;
    }
    let pool = PoolSettings {
        application: "inventory",
        connections: database.pool,
        statement_timeout: STATEMENT_TIMEOUT,
        // The settings of the role itself, for sessions that log in as another role.
        options: &[("role", ROLE), ("lock_timeout", "3s"), ("idle_in_transaction_session_timeout", "5s")],
    };
    Ok(pool.pool(&database.url)?)
}

async fn prepare_lab(migrating: &mut PgConnection, lab: bool) -> Result<(), ConnectError> {
    if lab {
        set_up_lab(migrating).await?;
    } else if is_lab_database(migrating).await? {
        return Err(ConnectError::LabDatabase);
    }
    Ok(())
}

async fn is_lab_database(connection: &mut PgConnection) -> Result<bool, sqlx::Error> {
    let has_unsafe_write = "select exists (select from pg_proc where proname = 'stock_write_unsafe')";
    sqlx::query_scalar(has_unsafe_write).fetch_one(connection).await
}

/// One replica at a time. Replicas that start later, perhaps under load, must not lock the table once more.
async fn set_up_lab(migrating: &mut PgConnection) -> Result<(), sqlx::Error> {
    let mut alone = migrating.begin().await?;
    sqlx::query("select pg_advisory_xact_lock(hashtext('inventory lab'))").execute(&mut *alone).await?;
    if !is_lab_database(&mut alone).await? {
        sqlx::raw_sql(LAB).execute(&mut *alone).await?;
    }
    alone.commit().await
}
