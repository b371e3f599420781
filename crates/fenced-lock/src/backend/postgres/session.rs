//! Sessions with the server, each for one lock at a time, used again once it was given back properly.
//! A session that is dropped is closed, never returned: its socket goes, and its locks with it.

use std::io::ErrorKind;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use sqlx::postgres::PgConnection;
use sqlx::{ConnectOptions as _, Error, query};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::AdvisoryDatabase;
use crate::LockError;
use crate::backend::service::Service;

/// `idle_session_timeout` is what makes a lease of a session.
const MIN_SERVER_VERSION: u32 = 140_000;

/// A wait for a lock has limits of its own.
const NO_OTHER_LIMIT: &str = "select set_config('statement_timeout', '0', false)";

/// How often the server checks whether a client that waits for a lock is still there.
const CHECK_CLIENT: &str = "select set_config('client_connection_check_interval', '1s', false)";

#[derive(Clone, Debug)]
pub(super) struct Sessions {
    database: AdvisoryDatabase,
    pub(super) service: Service,
    permits: Arc<Semaphore>,
    idle: Arc<Mutex<Vec<PgConnection>>>,
}

#[derive(Debug)]
pub(super) struct Session {
    pub(super) connection: PgConnection,
    /// Whether it has been idle, and may have been closed by the server meanwhile.
    pub(super) reused: bool,
    permit: OwnedSemaphorePermit,
}

impl Sessions {
    pub(super) fn new(database: AdvisoryDatabase, service: Service) -> Self {
        let permits = Arc::new(Semaphore::new(database.max_sessions()));
        Self { database, service, permits, idle: Arc::default() }
    }

    /// One that was given back, or a new one.
    pub(super) async fn get(&self) -> Result<Session, LockError> {
        let permit = self.permit().await?;
        let idle = self.idle().pop();
        match idle {
            Some(connection) => Ok(Session { connection, reused: true, permit }),
            None => self.open(permit).await,
        }
    }

    /// A new one, because the server had closed the other.
    pub(super) async fn replace(&self, broken: Session) -> Result<Session, LockError> {
        // Whatever ended it has ended the others as well.
        self.idle().clear();
        self.open(broken.permit).await
    }

    /// Holds no lock and has no time limit any more.
    pub(super) fn put_back(&self, session: Session) {
        self.idle().push(session.connection);
    }

    async fn permit(&self) -> Result<OwnedSemaphorePermit, LockError> {
        let permit =
            async { Arc::clone(&self.permits).acquire_owned().await.map_err(|error| self.service.wrong(error)) };
        self.service.with_timeout(permit).await
    }

    async fn open(&self, permit: OwnedSemaphorePermit) -> Result<Session, LockError> {
        let connect = async {
            let mut connection = self.database.options().connect().await?;
            query(NO_OTHER_LIMIT).execute(&mut connection).await?;
            // Not every system can tell the server so; there a dead waiter stays until its wait ends.
            if let Err(error) = query(CHECK_CLIENT).execute(&mut connection).await {
                tracing::debug!(%error, "the server cannot check its clients");
            }
            Ok(connection)
        };
        let connect = async { connect.await.map_err(|error| failed(&self.service, error)) };
        let connection = self.service.with_timeout(connect).await?;
        if connection.server_version_num().is_none_or(|version| version < MIN_SERVER_VERSION) {
            return Err(self
                .service
                .unexpected("Postgres 14 or later is needed: older ones cannot end an idle session"));
        }
        Ok(Session { connection, reused: false, permit })
    }

    fn idle(&self) -> MutexGuard<'_, Vec<PgConnection>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether the session behind the connection has ended, by what the server said or by the silence of
/// a closed socket.
pub(super) fn has_ended(error: &Error) -> bool {
    match error {
        Error::Database(error) => error.code().is_some_and(|code| code.starts_with("57P")),
        // Silence is no end.
        Error::Io(error) => error.kind() != ErrorKind::TimedOut,
        _ => false,
    }
}

pub(super) fn failed(service: &Service, error: Error) -> LockError {
    let refused_by_server =
        |code: &str| code.starts_with("28") || code.starts_with("3D") || code == "53300" || code == "57P03";
    match &error {
        Error::Database(told) if told.code().is_some_and(|code| refused_by_server(&code)) => service.refused(error),
        Error::Io(told) if told.kind() == ErrorKind::ConnectionRefused => service.refused(error),
        Error::Tls(_) | Error::Configuration(_) => service.refused(error),
        Error::Io(_) => service.no_answer(error),
        _ if has_ended(&error) => service.no_answer(error),
        _ => service.wrong(error),
    }
}
