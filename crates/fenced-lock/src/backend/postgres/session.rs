//! Sessions with the server, each for one lock at a time, reused once it was released properly. A session that is
//! dropped is closed and never reused: its locks end with its socket. What has ended or silenced one session may have
//! done the same to the idle ones, so they are closed with it.

use std::future::Future;
use std::io::{self, ErrorKind};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use sqlx::postgres::PgConnection;
use sqlx::{ConnectOptions as _, Error, query, query_scalar};
use tokio::sync::{OnceCell, OwnedSemaphorePermit, Semaphore};

use super::database::AdvisoryDatabase;
use super::pooler::shares_sessions;
use super::statements::{CHECK_CLIENT, IS_STANDBY, NO_STATEMENT_TIMEOUT};
use crate::backend::service::Service;
use crate::{FailureKind, LockError};

/// Postgres 14, the first version with `idle_session_timeout`, which ends a lock with its lease.
const MIN_SERVER_VERSION: u32 = 140_000;

#[derive(Clone, Debug)]
pub(super) struct Sessions {
    database: AdvisoryDatabase,
    pub(super) service: Service,
    permits: Arc<Semaphore>,
    idle: Arc<Mutex<Vec<PgConnection>>>,
    /// Set once it is known that no transaction pooler is in between.
    direct: Arc<OnceCell<()>>,
}

#[derive(Debug)]
pub(super) struct Session {
    pub(super) connection: PgConnection,
    /// Whether the session was idle before, so that the server may have closed it.
    pub(super) reused: bool,
    permit: OwnedSemaphorePermit,
}

impl Sessions {
    pub(super) fn new(database: AdvisoryDatabase, service: Service) -> Self {
        let permits = Arc::new(Semaphore::new(database.max_sessions()));
        Self { database, service, permits, idle: Arc::default(), direct: Arc::default() }
    }

    /// An idle session, or a new one.
    pub(super) async fn get(&self) -> Result<Session, LockError> {
        let permit = self.permit().await?;
        let idle = self.idle().pop();
        match idle {
            Some(connection) => Ok(Session { connection, reused: true, permit }),
            None => self.open(permit).await,
        }
    }

    /// A new session, because the server had closed this one.
    pub(super) async fn replace(&self, broken: Session) -> Result<Session, LockError> {
        self.idle().clear();
        self.open(broken.permit).await
    }

    /// Classifies the failure of a statement. The caller closes its session.
    pub(super) fn failed(&self, error: Error) -> LockError {
        if FailureKind::of_postgres(&error).ends_connection() {
            self.idle().clear();
        }
        failed(&self.service, error)
    }

    /// Makes the session available again. It must hold no lock and have no idle timeout any more.
    pub(super) fn put_back(&self, session: Session) {
        self.idle().push(session.connection);
    }

    async fn permit(&self) -> Result<OwnedSemaphorePermit, LockError> {
        let permit =
            async { Arc::clone(&self.permits).acquire_owned().await.map_err(|error| self.service.wrong_answer(error)) };
        self.service.with_timeout(permit).await
    }

    async fn open(&self, permit: OwnedSemaphorePermit) -> Result<Session, LockError> {
        self.direct.get_or_try_init(|| self.require_own_sessions()).await?;
        let connect = async {
            let mut connection = self.database.options().connect().await?;
            query(NO_STATEMENT_TIMEOUT).execute(&mut connection).await?;
            let standby: bool = query_scalar(IS_STANDBY).fetch_one(&mut connection).await?;
            // Not supported on every operating system; there the entry of a crashed waiter stays until its wait ends.
            if let Err(error) = query(CHECK_CLIENT).execute(&mut connection).await {
                tracing::debug!(%error, "Postgres cannot detect crashed clients; their waiters stay queued until the wait ends");
            }
            Ok((connection, standby))
        };
        let connect = async { connect.await.map_err(|error| failed(&self.service, error)) };
        let (connection, standby) = self.service.with_timeout(connect).await?;
        // A primary does not become a standby without a restart, so this holds for the whole session.
        if standby {
            let reason =
                "the server is a standby, where a lock excludes no client of the primary: connect to the primary";
            return Err(self.service.unexpected(reason));
        }
        if connection.server_version_num().is_none_or(|version| version < MIN_SERVER_VERSION) {
            let reason = "Postgres 14 or later is required: older versions cannot end an idle session";
            return Err(self.service.unexpected(reason));
        }
        Ok(Session { connection, reused: false, permit })
    }

    async fn require_own_sessions(&self) -> Result<(), LockError> {
        let shared = async {
            let shared = shares_sessions(self.database.options()).await;
            shared.map_err(|error| failed(&self.service, error))
        };
        if self.service.with_timeout(shared).await? {
            let reason = "a pooler lends sessions for a transaction only, where a lock would stay behind: set \
                          pool_mode = session for this database in PgBouncer, or connect to Postgres directly";
            return Err(self.service.unexpected(reason));
        }
        Ok(())
    }

    fn idle(&self) -> MutexGuard<'_, Vec<PgConnection>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Waits for one statement, at most for `limit`.
pub(super) async fn with_timeout<T>(
    limit: Duration,
    statement: impl Future<Output = Result<T, Error>>,
) -> Result<T, Error> {
    let expired = |_| Err(Error::Io(io::Error::new(ErrorKind::TimedOut, format!("no answer within {limit:?}"))));
    tokio::time::timeout(limit, statement).await.unwrap_or_else(expired)
}

/// Whether the session has ended: the server reported it, or the socket is closed. After a timeout it may still live.
pub(super) fn has_ended(error: &Error) -> bool {
    FailureKind::of_postgres(error) == FailureKind::Gone
}

/// Names the failure.
fn failed(service: &Service, error: Error) -> LockError {
    service.failed(FailureKind::of_postgres(&error), error)
}
