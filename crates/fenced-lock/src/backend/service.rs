//! A backend that is one service, be it one server or an ensemble that agrees by itself: the names of its
//! failures, and the limit on an answer's time. Absence: no service is named here.

use std::error::Error;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use super::node_errors::{self, NoAnswerWithin};
use crate::{FailureKind, LockError, NodeError};

/// The service as errors and metrics name it.
#[derive(Clone, Debug)]
pub(super) struct Service {
    backend: &'static str,
    /// Its addresses, without credentials.
    node: Arc<str>,
    /// The limit on an answer's time.
    pub(super) timeout: Duration,
}

/// An answer that the protocol does not allow.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct UnexpectedAnswer(&'static str);

impl Service {
    pub(super) fn new(backend: &'static str, node: &str, timeout: Duration) -> Self {
        Self { backend, node: node.into(), timeout }
    }

    /// Waits for `call`, at most for the service's timeout.
    pub(super) async fn with_timeout<T>(
        &self,
        call: impl Future<Output = Result<T, LockError>>,
    ) -> Result<T, LockError> {
        let expired = |_| Err(self.failed(FailureKind::Silent, NoAnswerWithin(self.timeout)));
        tokio::time::timeout(self.timeout, call).await.unwrap_or_else(expired)
    }

    /// The service failed in this way.
    pub(super) fn failed(&self, kind: FailureKind, error: impl Error + Send + Sync + 'static) -> LockError {
        let source = NodeError::new(&self.node, kind, error);
        node_errors::record(std::slice::from_ref(&source));
        LockError::Unavailable { backend: self.backend, source }
    }

    pub(super) fn wrong_answer(&self, error: impl Error + Send + Sync + 'static) -> LockError {
        self.failed(FailureKind::WrongAnswer, error)
    }

    pub(super) fn unexpected(&self, what: &'static str) -> LockError {
        self.wrong_answer(UnexpectedAnswer(what))
    }
}
