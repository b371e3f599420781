//! Whether each connection has a session of its own, or a transaction pooler lends sessions to several of them.
//!
//! Through a transaction pooler, settings, prepared statements and advisory locks stay at a session that another client
//! gets next. Nothing that the pooler answers tells that it is one, so two connections are watched.

use std::time::Duration;

use sqlx::{Connection as _, Executor as _, PgConnection, Row as _, postgres::PgConnectOptions};
use tokio::time::timeout;

/// For both connections and all rounds.
const LIMIT: Duration = Duration::from_secs(5);
/// Other clients of the pooler may hide in one round that sessions are shared.
const ROUNDS: usize = 5;

/// Why the connections of a database are not used.
#[derive(Debug, thiserror::Error)]
pub enum SessionError {
    /// A transaction pooler is in between.
    #[error(
        "a pooler lends sessions for a transaction only: set pool_mode = session for this database in PgBouncer, \
         or connect to Postgres directly"
    )]
    Shared,
    /// Postgres is unavailable, or refused the connection.
    #[error("no connection to the database")]
    Connection(#[from] sqlx::Error),
    /// Perhaps a session pooler has no session left.
    #[error("no two sessions within {limit} s; in PgBouncer, raise default_pool_size", limit = LIMIT.as_secs())]
    TooFew,
}

impl SessionError {
    /// A setting must change: no retry helps.
    pub fn is_configuration(&self) -> bool {
        matches!(self, Self::Shared)
    }
}

/// Succeeds if each connection has a session of its own for as long as it is open.
///
/// # Errors
/// [`SessionError::Shared`] behind a transaction pooler; there were no two connections within 5 s.
pub async fn require_own_sessions(options: &PgConnectOptions) -> Result<(), SessionError> {
    match timeout(LIMIT, are_shared(options)).await {
        Err(_) => Err(SessionError::TooFew),
        Ok(Ok(false)) => Ok(()),
        Ok(Ok(true)) => Err(SessionError::Shared),
        Ok(Err(error)) => Err(error.into()),
    }
}

async fn are_shared(options: &PgConnectOptions) -> Result<bool, sqlx::Error> {
    let mut first = PgConnection::connect_with(options).await?;
    let mut second = PgConnection::connect_with(options).await?;
    for _ in 0..ROUNDS {
        let before = session_of(&mut first).await?;
        // Keeps the session that a pooler has just taken back, so that the first connection gets another one.
        let mut transaction = second.begin().await?;
        if session_of(&mut transaction).await? == before || session_of(&mut first).await? != before {
            return Ok(true);
        }
        transaction.rollback().await?;
    }
    first.close().await?;
    second.close().await?;
    Ok(false)
}

/// Without a prepared statement, which a transaction pooler could lose.
async fn session_of(connection: &mut PgConnection) -> Result<i32, sqlx::Error> {
    connection.fetch_one("select pg_backend_pid()").await?.try_get(0)
}
