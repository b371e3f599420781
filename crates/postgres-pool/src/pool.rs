//! The pool, and a connection in use.

use std::{sync::Arc, time::Duration};

use failure_kind::FailureKind;
use sqlx::{PgConnection, PgPool, Postgres, pool::PoolConnection};
use tokio::time::timeout;

use crate::health::Health;

/// How long a connection may take to finish what its caller has given up, and to answer a ping, before it is closed.
const RETURN_LIMIT: Duration = Duration::from_secs(1);
/// How long [`Pool::close`] waits for connections in use.
const CLOSE_LIMIT: Duration = Duration::from_secs(2);

/// The pool. Cheap to clone; `&Pool` is a [`sqlx::Executor`].
#[derive(Debug, Clone)]
pub struct Pool {
    pub(crate) connections: PgPool,
    pub(crate) health: Arc<Health>,
    pub(crate) statement_limit: Duration,
}

impl Pool {
    /// Succeeds if Postgres answers and accepts writes.
    ///
    /// # Errors
    /// Postgres does not answer, or SQLSTATE 25006: it is read-only.
    pub async fn ready(&self) -> Result<(), sqlx::Error> {
        let accepts_writes = "do $$ begin
            if current_setting('transaction_read_only') = 'on' then
                raise exception 'the server is read-only' using errcode = '25006';
            end if;
        end $$";
        sqlx::query(accepts_writes).execute(self).await.map(drop)
    }

    /// Connections that are open, and how many of them are idle.
    pub fn usage(&self) -> (u32, u32) {
        let idle = u32::try_from(self.connections.num_idle()).unwrap_or(u32::MAX);
        (self.connections.size(), idle)
    }

    /// Waits a little for the connections in use, then abandons them.
    pub async fn close(&self) {
        if timeout(CLOSE_LIMIT, self.connections.close()).await.is_err() {
            tracing::warn!("postgres connections still in use at the end are abandoned: Postgres rolls them back");
        }
    }

    pub(crate) async fn checkout(&self) -> Result<Checkout, sqlx::Error> {
        let connection = self.connections.acquire().await?;
        Ok(Checkout { connection: Some(connection), health: Arc::clone(&self.health), limit: self.statement_limit })
    }
}

/// A connection in use. Dropping it, also in the middle of a statement, returns it to the pool once it answers again.
pub(crate) struct Checkout {
    connection: Option<PoolConnection<Postgres>>,
    health: Arc<Health>,
    limit: Duration,
}

impl Checkout {
    /// Runs one statement within the limit, and closes the connection if it is in doubt afterwards.
    pub(crate) async fn run<T>(
        mut self,
        statement: impl AsyncFnOnce(&mut PgConnection) -> Result<T, sqlx::Error>,
    ) -> Result<T, sqlx::Error> {
        let Some(connection) = self.connection.as_mut() else { return Err(sqlx::Error::PoolClosed) };
        let result = timeout(self.limit, statement(connection)).await.unwrap_or_else(|_| Err(self.overdue()));
        if result.as_ref().is_err_and(|error| FailureKind::of_postgres(error).ends_connection()) {
            self.health.reject_older();
            // Closes the socket without a closing message that a dead connection could not deliver, and frees the place.
            drop(self.connection.take().map(PoolConnection::detach));
        }
        result
    }

    fn overdue(&self) -> sqlx::Error {
        let error = format!("postgres did not answer within {:?}; the connection is closed", self.limit);
        sqlx::Error::Io(std::io::Error::new(std::io::ErrorKind::TimedOut, error))
    }
}

impl Drop for Checkout {
    fn drop(&mut self) {
        let Some(mut connection) = self.connection.take() else { return };
        let health = Arc::clone(&self.health);
        // What the driver does on drop, with an end: it waits for a ping's answer however long that takes.
        let returned = connection.return_to_pool();
        tokio::spawn(async move {
            if timeout(RETURN_LIMIT, returned).await.is_err() {
                health.test_idle();
            }
        });
    }
}
