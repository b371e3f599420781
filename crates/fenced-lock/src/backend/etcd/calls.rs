//! The connection to etcd: made when first needed, every call with a deadline, every failure named.
//! Nothing here knows what a lock is.

use std::error::Error as _;
use std::fmt;
use std::future::Future;
use std::io;
use std::time::Duration;

use etcd_client::{Client, ConnectOptions, Error};
use tokio::sync::OnceCell;

use super::EtcdEndpoints;
use crate::LockError;
use crate::backend::service::Service;

/// gRPC's numbers for what went wrong. Source: gRPC, "Status codes and their use in gRPC".
mod code {
    pub(super) const CANCELLED: i32 = 1;
    pub(super) const UNKNOWN: i32 = 2;
    pub(super) const DEADLINE_EXCEEDED: i32 = 4;
    pub(super) const NOT_FOUND: i32 = 5;
    pub(super) const PERMISSION_DENIED: i32 = 7;
    pub(super) const UNAVAILABLE: i32 = 14;
    pub(super) const UNAUTHENTICATED: i32 = 16;
}

pub(super) struct Calls {
    endpoints: EtcdEndpoints,
    pub(super) service: Service,
    /// Reconnects by itself once it was made.
    client: OnceCell<Client>,
}

impl Calls {
    pub(super) fn new(endpoints: EtcdEndpoints, timeout: Duration) -> Self {
        Self { service: Service::new("etcd", &endpoints.name(), timeout), endpoints, client: OnceCell::new() }
    }

    /// Makes one call.
    pub(super) async fn call<T, F>(&self, call: impl FnOnce(Client) -> F) -> Result<T, LockError>
    where
        F: Future<Output = Result<T, Error>>,
    {
        self.try_call(call).await?.map_err(|error| self.failed(error))
    }

    /// Makes one call that may be refused because what it is about is gone: `None`.
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

    async fn try_call<T, F>(&self, call: impl FnOnce(Client) -> F) -> Result<Result<T, Error>, LockError>
    where
        F: Future<Output = Result<T, Error>>,
    {
        // What the library makes of a call is large, and would be part of every future around it.
        self.service.with_timeout(async { Ok(Box::pin(call(self.client().await?)).await) }).await
    }

    async fn client(&self) -> Result<Client, LockError> {
        let connect = || async {
            let user = self.endpoints.user();
            let options = user.map(|(name, password)| ConnectOptions::new().with_user(name, password));
            Box::pin(Client::connect(self.endpoints.urls(), options)).await.map_err(|error| self.failed(error))
        };
        self.client.get_or_try_init(connect).await.cloned()
    }

    /// What the failure is called.
    pub(super) fn failed(&self, error: Error) -> LockError {
        let code = match &error {
            Error::GRpcStatus(status) => status.code() as i32,
            Error::TransportError(_) | Error::IoError(_) => code::UNAVAILABLE,
            _ => return self.service.wrong(error),
        };
        match code {
            code::PERMISSION_DENIED | code::UNAUTHENTICATED => self.service.refused(error),
            _ if is_connection_refused(&error) => self.service.refused(error),
            code::UNAVAILABLE | code::UNKNOWN | code::CANCELLED | code::DEADLINE_EXCEEDED => {
                self.service.no_answer(error)
            }
            _ => self.service.wrong(error),
        }
    }
}

impl fmt::Debug for Calls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Calls").field("endpoints", &self.endpoints).finish_non_exhaustive()
    }
}

/// A lease that is not there (any more).
fn is_not_found(error: &Error) -> bool {
    match error {
        Error::GRpcStatus(status) => status.code() as i32 == code::NOT_FOUND,
        // What the client makes of a lease that could not be kept alive.
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
