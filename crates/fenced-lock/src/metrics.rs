//! Metrics of `Locks` and grants, through the `metrics` facade: nothing is recorded without an installed
//! recorder. No resource and no owner is ever a label; their number has no bound.

use std::time::Duration;

use crate::LockError;
use crate::lock_backend::Acquired;

/// The end of an acquisition: its outcome and its duration, waiting included.
pub(crate) fn record_acquisition(
    backend: &'static str,
    duration: Duration,
    outcome: &Result<Option<Acquired>, LockError>,
) {
    let outcome = match outcome {
        Ok(Some(_)) => "granted",
        Ok(None) => "contended",
        Err(_) => "failed",
    };
    metrics::histogram!("lock_wait_seconds", "backend" => backend, "outcome" => outcome).record(duration);
}

/// The end of a grant: how long the lock was held.
pub(crate) fn record_hold(backend: &'static str, duration: Duration) {
    metrics::histogram!("lock_held_seconds", "backend" => backend).record(duration);
}

/// An extension that found the lock gone.
pub(crate) fn record_loss(backend: &'static str) {
    metrics::counter!("lock_lost_total", "backend" => backend).increment(1);
}
