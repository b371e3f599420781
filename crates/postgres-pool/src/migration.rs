//! Migrates a schema, on a connection of its own: a migration may take longer than the statements of a service.

use std::{fmt, pin::pin, str::FromStr as _, time::Duration};

use sqlx::{
    Connection as _, PgConnection,
    migrate::{MigrateError, Migrator},
    postgres::PgConnectOptions,
};
use tokio::time::{Instant, interval_at, sleep_until, timeout};

use crate::sessions::{SessionError, require_own_sessions};

/// The longest migration. Replicas that start together migrate one after the other, so the last one waits for all the
/// others.
const LIMIT: Duration = Duration::from_mins(1);
/// How often a migration that has not ended asks for whom it waits, and how long the answer may take.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Why the schema was not migrated.
#[derive(Debug, thiserror::Error)]
pub enum MigrationError {
    /// Postgres is unavailable, or refused the connection.
    #[error("no connection to the database")]
    Connection(#[from] sqlx::Error),
    /// The lock of migrations would stay at a session that the pooler gives to another client.
    #[error(transparent)]
    Sessions(#[from] SessionError),
    /// A newer binary has migrated the database.
    #[error("database schema is at version {database}, this binary knows up to {binary}: start a newer binary")]
    NewerSchema {
        /// The newest migration that was applied.
        database: i64,
        /// The newest migration of this binary.
        binary: i64,
    },
    /// A migration failed, or one that was applied has changed since.
    #[error("a migration failed")]
    Failed(#[from] MigrateError),
    /// Another session was in the way for too long.
    #[error("not migrated within {limit} s: waited for {0}", limit = LIMIT.as_secs())]
    Blocked(Session),
    /// It took too long, and no other session was in the way.
    #[error("not migrated within {} s", LIMIT.as_secs())]
    Overdue,
}

impl MigrationError {
    /// A setting must change: no retry helps.
    pub fn is_configuration(&self) -> bool {
        matches!(self, Self::Sessions(error) if error.is_configuration())
    }
}

/// Another session, as `pg_stat_activity` shows it.
#[derive(Debug, Clone, PartialEq, Eq, sqlx::FromRow)]
pub struct Session {
    pid: i32,
    application: String,
    address: String,
    since: String,
}

impl fmt::Display for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { pid, application, address, since } = self;
        write!(f, "the session with pid {pid} of \"{application}\" at {address}, connected since {since}")
    }
}

/// Brings the schema up to date, runs `then` on the same connection, and closes it. Logs for which session it waits.
///
/// # Errors
/// The URL is not one of Postgres, a transaction pooler is in between, no connection could be made, a newer binary has
/// migrated the database, a migration or `then` failed, or all of it took longer than a minute.
pub async fn migrate<E: From<MigrationError>>(
    url: &str,
    application: &str,
    migrations: &Migrator,
    then: impl AsyncFnOnce(&mut PgConnection) -> Result<(), E>,
) -> Result<(), E> {
    let deadline = Instant::now() + LIMIT;
    let options = PgConnectOptions::from_str(url).map_err(MigrationError::from)?.application_name(application);
    require_own_sessions(&options).await.map_err(MigrationError::from)?;
    let (mut connection, pid) =
        timeout(LIMIT, connect(&options)).await.map_err(|_| MigrationError::Overdue)?.map_err(MigrationError::from)?;
    let mut migrated = pin!(async {
        run(migrations, &mut connection).await?;
        then(&mut connection).await?;
        Ok(connection.close().await.map_err(MigrationError::from)?)
    });
    let mut look = interval_at(Instant::now() + LOOK_EVERY, LOOK_EVERY);
    let mut awaited = None;
    loop {
        tokio::select! {
            result = &mut migrated => return result,
            // The server's limit is for one statement, and a silent server keeps no limit.
            () = sleep_until(deadline) => return Err(awaited.map_or(MigrationError::Overdue, MigrationError::Blocked).into()),
            _ = look.tick() => {
                let Ok(Ok(Some(session))) = timeout(LOOK_EVERY, blocker(&options, pid)).await else { continue };
                if awaited.as_ref() != Some(&session) {
                    tracing::warn!("the migration of the database waits for {session}");
                    awaited = Some(session);
                }
            }
        }
    }
}

async fn connect(options: &PgConnectOptions) -> Result<(PgConnection, i32), sqlx::Error> {
    let mut connection = PgConnection::connect_with(options).await?;
    let begun = "select pg_backend_pid(), set_config('statement_timeout', $1, false)";
    let limit = LIMIT.as_millis().to_string();
    let (pid, _): (i32, String) = sqlx::query_as(begun).bind(limit).fetch_one(&mut connection).await?;
    Ok((connection, pid))
}

async fn run(migrations: &Migrator, connection: &mut PgConnection) -> Result<(), MigrationError> {
    let failed = match migrations.run(&mut *connection).await {
        Err(MigrateError::VersionMissing(missing)) => missing,
        other => return Ok(other?),
    };
    let newest = sqlx::query_scalar("select max(version) from _sqlx_migrations where success");
    let database: i64 = newest.fetch_one(connection).await?;
    let binary = migrations.iter().map(|migration| migration.version).max().unwrap_or_default();
    if database > binary {
        return Err(MigrationError::NewerSchema { database, binary });
    }
    Err(MigrateError::VersionMissing(failed).into())
}

/// The session for which the one with this pid waits: of several that wait for each other, the one that waits for nobody.
async fn blocker(options: &PgConnectOptions, pid: i32) -> Result<Option<Session>, sqlx::Error> {
    let read = "select pid, application_name as application, coalesce(host(client_addr), 'the local socket') as address,
                       coalesce(to_char(backend_start at time zone 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS\"Z\"'), 'an unknown time')
                           as since
                  from pg_stat_activity where pid = any(pg_blocking_pids($1))
                 order by cardinality(pg_blocking_pids(pid)), backend_start limit 1";
    let mut connection = PgConnection::connect_with(options).await?;
    let session = sqlx::query_as(read).bind(pid).fetch_optional(&mut connection).await?;
    connection.close().await?;
    Ok(session)
}
