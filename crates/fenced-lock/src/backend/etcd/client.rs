//! The connection to etcd: made at its first use and again after a call without an answer, a deadline for every call,
//! a name for every failure.
//! Absence: nothing about locks.

use std::error::Error as _;
use std::fmt;
use std::future::Future;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use etcd_client::{Client, ConnectOptions, Error, GetOptions};
use tokio::sync::OnceCell;

use super::endpoints::EtcdEndpoints;
use crate::backend::owner_names::OwnerNames;
use crate::backend::service::Service;
use crate::cleanups::Cleanups;
use crate::{FailureKind, LockError, Options};

/// Status codes of gRPC. Source: gRPC, "Status codes and their use in gRPC".
mod code {
    pub(super) const CANCELLED: i32 = 1;
    pub(super) const UNKNOWN: i32 = 2;
    pub(super) const DEADLINE_EXCEEDED: i32 = 4;
    pub(super) const NOT_FOUND: i32 = 5;
    pub(super) const PERMISSION_DENIED: i32 = 7;
    pub(super) const RESOURCE_EXHAUSTED: i32 = 8;
    pub(super) const UNAVAILABLE: i32 = 14;
    pub(super) const UNAUTHENTICATED: i32 = 16;
}

/// How often the client asks for a sign of life on a connection that is only watched. etcd closes connections that
/// ask more often than every 5 s (`--grpc-keepalive-min-time`).
const KEEP_ALIVE: Duration = Duration::from_secs(10);

/// Connects at its first call, and reconnects by itself when its connection ends; it does not notice silence.
type Connection = Arc<OnceCell<Client>>;

pub(super) struct EtcdClient {
    endpoints: EtcdEndpoints,
    pub(super) service: Service,
    pub(super) owners: OwnerNames,
    pub(super) cleanups: Cleanups,
    connection: Mutex<Connection>,
}

impl EtcdClient {
    pub(super) fn new(endpoints: EtcdEndpoints, options: &Options) -> Arc<Self> {
        Arc::new(Self {
            service: Service::new("etcd", &endpoints.name(), options.node_timeout()),
            owners: OwnerNames::new(options.client_name()),
            cleanups: Cleanups::default(),
            endpoints,
            connection: Mutex::default(),
        })
    }

    /// Makes one call.
    pub(super) async fn call<T, F>(&self, call: impl FnOnce(Client) -> F) -> Result<T, LockError>
    where
        F: Future<Output = Result<T, Error>>,
    {
        self.try_call(call).await?.map_err(|error| self.failed(error))
    }

    /// Makes one call; `None` when etcd does not find the lease of the call.
    pub(super) async fn call_if_found<T, F>(&self, call: impl FnOnce(Client) -> F) -> Result<Option<T>, LockError>
    where
        F: Future<Output = Result<T, Error>>,
    {
        match self.try_call(call).await? {
            Ok(answer) => Ok(Some(answer)),
            Err(error) if is_not_found(&error) => Ok(None),
            Err(error) => Err(self.failed(error)),
        }
    }

    /// The latest revision that a majority of the cluster has stored.
    pub(super) async fn revision(&self) -> Result<i64, LockError> {
        let options = GetOptions::new().with_count_only();
        let answer = self.call(|mut etcd| async move { etcd.get("fenced-lock/", Some(options)).await }).await?;
        let header = answer.header().ok_or_else(|| self.service.unexpected("an answer without a revision"))?;
        Ok(header.revision())
    }

    /// The lease of a waiter's entry ended before the lock was granted: that is a failure of the service, not a
    /// lost lock.
    pub(super) fn queue_position_lost(&self, error: LockError) -> LockError {
        match error {
            LockError::Lost { .. } => self.service.unexpected("the queue entry was lost while waiting"),
            error => error,
        }
    }

    async fn try_call<T, F>(&self, call: impl FnOnce(Client) -> F) -> Result<Result<T, Error>, LockError>
    where
        F: Future<Output = Result<T, Error>>,
    {
        let connection = Arc::clone(&self.connection());
        // Boxed: the library's futures are large, and would be part of every future around them.
        let answered = async { Ok(Box::pin(call(self.client(&connection).await?)).await) };
        let answer = self.service.with_timeout(answered).await;
        if answer.is_err() {
            self.replace(&connection);
        }
        answer
    }

    async fn client(&self, connection: &OnceCell<Client>) -> Result<Client, LockError> {
        let timeout = self.service.timeout;
        let options = ConnectOptions::new().with_connect_timeout(timeout).with_keep_alive(KEEP_ALIVE, timeout);
        let options = match self.endpoints.user() {
            Some((name, password)) => options.with_user(name, password),
            None => options,
        };
        let connect = || async {
            Box::pin(Client::connect(self.endpoints.urls(), Some(options))).await.map_err(|error| self.failed(error))
        };
        connection.get_or_try_init(connect).await.cloned()
    }

    /// Later calls use a new connection: this one did not answer in time, and a connection can be dead without either
    /// end having been told. Calls in progress keep it until they end.
    fn replace(&self, silent: &Connection) {
        let mut current = self.connection();
        if Arc::ptr_eq(&current, silent) {
            *current = Connection::default();
        }
    }

    fn connection(&self) -> MutexGuard<'_, Connection> {
        self.connection.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Names the failure.
    pub(super) fn failed(&self, error: Error) -> LockError {
        self.service.failed(kind_of(&error), error)
    }
}

impl fmt::Debug for EtcdClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EtcdClient").field("endpoints", &self.endpoints).finish_non_exhaustive()
    }
}

fn kind_of(error: &Error) -> FailureKind {
    let code = match error {
        Error::GRpcStatus(status) => status.code() as i32,
        Error::TransportError(_) | Error::IoError(_) => code::UNAVAILABLE,
        _ => return FailureKind::WrongAnswer,
    };
    match code {
        code::PERMISSION_DENIED | code::UNAUTHENTICATED => FailureKind::Unreachable,
        _ if is_connection_refused(error) => FailureKind::Unreachable,
        code::RESOURCE_EXHAUSTED => FailureKind::Refused,
        code::DEADLINE_EXCEEDED => FailureKind::Silent,
        // The connection ended, or the member lost its leader: the call may have been executed.
        code::UNAVAILABLE | code::UNKNOWN | code::CANCELLED => FailureKind::Gone,
        _ => FailureKind::WrongAnswer,
    }
}

/// Whether the lease of the call does not exist (any more).
fn is_not_found(error: &Error) -> bool {
    match error {
        Error::GRpcStatus(status) => status.code() as i32 == code::NOT_FOUND,
        // The library's error for a lease that could not be kept alive.
        Error::LeaseKeepAliveError(_) => true,
        _ => false,
    }
}

/// Whether no connection could be made at all.
fn is_connection_refused(error: &Error) -> bool {
    let mut source = match error {
        Error::GRpcStatus(status) => status.source(),
        Error::TransportError(error) => error.source(),
        _ => None,
    };
    while let Some(error) = source {
        if error.downcast_ref::<io::Error>().is_some_and(|error| error.kind() == io::ErrorKind::ConnectionRefused) {
            return true;
        }
        source = error.source();
    }
    false
}
