//! A backend that is one service, be it one server or an ensemble that agrees by itself: what its
//! failures are called, and how long an answer may take. Nothing here knows which service it is.

use std::error::Error;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use crate::error::Cause;
use crate::{LockError, NodeError, metrics};

/// The service as errors and metrics name it.
#[derive(Clone, Debug)]
pub(crate) struct Service {
    backend: &'static str,
    /// Its addresses, without credentials.
    node: Arc<str>,
    timeout: Duration,
}

/// Nothing came within the node timeout.
#[derive(Debug, thiserror::Error)]
#[error("no answer within {0:?}")]
struct NoAnswerWithin(Duration);

/// An answer that the protocol does not know.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct Unexpected(&'static str);

impl Service {
    pub(crate) fn new(backend: &'static str, node: &str, timeout: Duration) -> Self {
        Self { backend, node: node.into(), timeout }
    }

    /// How long an answer may take.
    #[cfg(any(feature = "zookeeper", feature = "postgres"))]
    pub(crate) fn timeout(&self) -> Duration {
        self.timeout
    }

    /// Waits for `call`, but not longer than an answer may take.
    pub(crate) async fn with_timeout<T>(
        &self,
        call: impl Future<Output = Result<T, LockError>>,
    ) -> Result<T, LockError> {
        tokio::time::timeout(self.timeout, call).await.unwrap_or_else(|_| Err(self.timed_out()))
    }

    pub(crate) fn timed_out(&self) -> LockError {
        self.no_answer(NoAnswerWithin(self.timeout))
    }

    pub(crate) fn refused(&self, error: impl Error + Send + Sync + 'static) -> LockError {
        self.unavailable(NodeError::Refused { node: Arc::clone(&self.node), source: Cause::new(error) })
    }

    pub(crate) fn no_answer(&self, error: impl Error + Send + Sync + 'static) -> LockError {
        self.unavailable(NodeError::NoAnswer { node: Arc::clone(&self.node), source: Cause::new(error) })
    }

    pub(crate) fn wrong(&self, error: impl Error + Send + Sync + 'static) -> LockError {
        self.unavailable(NodeError::WrongAnswer { node: Arc::clone(&self.node), source: Cause::new(error) })
    }

    pub(crate) fn unexpected(&self, what: &'static str) -> LockError {
        self.wrong(Unexpected(what))
    }

    fn unavailable(&self, source: NodeError) -> LockError {
        metrics::node_errors(std::slice::from_ref(&source));
        LockError::Unavailable { backend: self.backend, source }
    }
}
