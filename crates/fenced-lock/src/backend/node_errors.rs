//! Failures of lock nodes, as every backend reports them: counted, logged, and named by their timeout.

use std::time::Duration;

use crate::NodeError;

/// Nothing arrived in this time.
#[derive(Debug, thiserror::Error)]
#[error("no answer within {0:?}")]
pub(super) struct NoAnswerWithin(pub(super) Duration);

/// Counts and logs each of `errors`.
pub(super) fn record(errors: &[NodeError]) {
    for error in errors {
        let (node, kind) = (error.node().to_owned(), error.kind().name());
        tracing::debug!(node, error = %error, "call to a lock node failed");
        metrics::counter!("lock_node_errors_total", "node" => node, "kind" => kind).increment(1);
    }
}
