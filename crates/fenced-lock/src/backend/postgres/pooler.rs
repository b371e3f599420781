//! Whether a transaction pooler lends sessions to several connections: a lock would stay at a session that another
//! client gets next. Nothing that the pooler answers tells that it is one, so two connections are watched.

use sqlx::postgres::{PgConnectOptions, PgConnection};
use sqlx::{Connection as _, Error, Executor as _, Row as _};

/// Other clients of the pooler may hide in one round that sessions are shared.
const ROUNDS: usize = 5;

pub(super) async fn shares_sessions(options: &PgConnectOptions) -> Result<bool, Error> {
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
async fn session_of(connection: &mut PgConnection) -> Result<i32, Error> {
    connection.fetch_one("select pg_backend_pid()").await?.try_get(0)
}
