//! How the database is reached: migrated by whoever may, used by a role that may not do much.

use std::{str::FromStr as _, time::Duration};

use sqlx::{
    Connection as _, PgConnection, PgPool,
    migrate::Migrator,
    postgres::{PgConnectOptions, PgPoolOptions},
};

/// How long anybody waits for a connection: less than any lease worth having.
pub const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(1);
/// Replicas that start together migrate one after the other.
const MIGRATION_TIMEOUT: &str = "60s";
/// The role of `0003_roles.sql`. Whoever logs in works as this one.
const ROLE: &str = "inventory_service";

static MIGRATIONS: Migrator = sqlx::migrate!("../../migrations/inventory");
const LAB: &str = include_str!("../../../../migrations/inventory/lab.sql");

/// Where the database is, and what it is for.
#[derive(Debug, Clone)]
pub struct Database {
    /// As the service logs in.
    pub url: String,
    /// As its owner or a superuser logs in.
    pub migrate_url: String,
    /// Connections.
    pub pool: u32,
    /// It is set up for the unsafe strategies.
    pub lab: bool,
}

/// Why the database cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// Away, or the schema is not ours.
    #[error("the database could not be migrated")]
    Migrate(#[from] sqlx::Error),
    /// As above.
    #[error("the database could not be migrated")]
    Migration(#[from] sqlx::migrate::MigrateError),
    /// Units could be sold twice in it.
    #[error("this database was set up for the lab: its stock is not guarded; take another one, or --lab")]
    LabDatabase,
}

/// Brings the schema up to date, and connects when it is first used.
///
/// # Errors
/// The database is away, is not ours, or is one of the lab while this service is not.
pub(super) async fn connect(database: &Database) -> Result<PgPool, ConnectError> {
    migrate(database).await?;
    let options = PgConnectOptions::from_str(&database.url)?.application_name("inventory").options([
        ("role", ROLE),
        // As on the role itself, for whoever logs in as another one.
        ("statement_timeout", "5s"),
        ("lock_timeout", "3s"),
        ("idle_in_transaction_session_timeout", "5s"),
    ]);
    Ok(PgPoolOptions::new()
        .max_connections(database.pool)
        .acquire_timeout(ACQUIRE_TIMEOUT)
        .test_before_acquire(false)
        .connect_lazy_with(options))
}

/// On a connection of its own: start-up may take longer than anybody may wait for one later.
async fn migrate(database: &Database) -> Result<(), ConnectError> {
    let options = PgConnectOptions::from_str(&database.migrate_url)?;
    let options = options.application_name("inventory-migrate").options([("statement_timeout", MIGRATION_TIMEOUT)]);
    let mut migrating = PgConnection::connect_with(&options).await?;
    MIGRATIONS.run(&mut migrating).await?;
    if database.lab {
        set_up_lab(&mut migrating).await?;
    } else if is_lab_database(&mut migrating).await? {
        return Err(ConnectError::LabDatabase);
    }
    Ok(migrating.close().await?)
}

async fn is_lab_database(connection: &mut PgConnection) -> Result<bool, sqlx::Error> {
    let unsafe_ones = "select exists (select from pg_proc where proname = 'stock_write_unsafe')";
    sqlx::query_scalar(unsafe_ones).fetch_one(connection).await
}

/// One replica at a time; those that come later, under load perhaps, must not lock the table once more.
async fn set_up_lab(migrating: &mut PgConnection) -> Result<(), sqlx::Error> {
    let mut alone = migrating.begin().await?;
    sqlx::query("select pg_advisory_xact_lock(hashtext('inventory lab'))").execute(&mut *alone).await?;
    if !is_lab_database(&mut alone).await? {
        sqlx::raw_sql(LAB).execute(&mut *alone).await?;
    }
    alone.commit().await
}
