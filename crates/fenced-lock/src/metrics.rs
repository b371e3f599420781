//! Metrics of the lock, through the `metrics` facade: nothing is recorded where no recorder is
//! installed. No resource and no owner is ever a label; their number has no bound.

use std::time::Duration;

use crate::LockError;
#[cfg(any(feature = "redis", feature = "etcd", feature = "zookeeper", feature = "postgres"))]
use crate::NodeError;
use crate::grant::Acquired;

/// An acquisition ended: how, and how long it took, waiting included.
pub(crate) fn acquired(backend: &'static str, took: Duration, outcome: &Result<Option<Acquired>, LockError>) {
    let outcome = match outcome {
        Ok(Some(_)) => "granted",
        Ok(None) => "contended",
        Err(_) => "failed",
    };
    metrics::histogram!("lock_wait_seconds", "backend" => backend, "outcome" => outcome).record(took);
}

/// A grant ended: how long it was held.
pub(crate) fn held(backend: &'static str, held: Duration) {
    metrics::histogram!("lock_held_seconds", "backend" => backend).record(held);
}

/// An extension found that the lock was gone.
pub(crate) fn lost(backend: &'static str) {
    metrics::counter!("lock_lost_total", "backend" => backend).increment(1);
}

/// Nodes did something else than answer.
#[cfg(any(feature = "redis", feature = "etcd", feature = "zookeeper", feature = "postgres"))]
pub(crate) fn node_errors(errors: &[NodeError]) {
    for error in errors {
        let kind = match error {
            NodeError::Refused { .. } => "refused",
            NodeError::NoAnswer { .. } => "no_answer",
            NodeError::WrongAnswer { .. } => "wrong_answer",
        };
        let node = error.node().to_owned();
        tracing::debug!(node, error = %error, "lock node error");
        metrics::counter!("lock_node_errors_total", "node" => node, "kind" => kind).increment(1);
    }
}

/// Nodes had counted differently, and a second round made one token of it.
#[cfg(feature = "redis")]
pub(crate) fn sealed() {
    metrics::counter!("lock_tokens_sealed_total").increment(1);
}

/// Storage had seen a higher token than the nodes remembered.
#[cfg(feature = "redis")]
pub(crate) fn raised() {
    metrics::counter!("lock_tokens_raised_total").increment(1);
}
