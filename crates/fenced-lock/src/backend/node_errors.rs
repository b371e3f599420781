//! Failures of lock nodes, as every backend reports them: counted, logged, and named by their timeout.

use std::time::Duration;

use crate::NodeError;

/// The cause of a [`NodeError::NoAnswer`]: nothing arrived in this time.
#[derive(Debug, thiserror::Error)]
#[error("no answer within {0:?}")]
pub(super) struct NoAnswerWithin(pub(super) Duration);

/// Counts and logs each of `errors`.
pub(super) fn record(errors: &[NodeError]) {
    for error in errors {
        let kind = match error {
            NodeError::Refused { .. } => "refused",
            NodeError::NoAnswer { .. } => "no_answer",
            NodeError::WrongAnswer { .. } => "wrong_answer",
        };
        let node = error.node().to_owned();
        tracing::debug!(node, error = %error, "call to a lock node failed");
        metrics::counter!("lock_node_errors_total", "node" => node, "kind" => kind).increment(1);
    }
}
