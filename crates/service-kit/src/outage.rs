//! Outages of what a service depends on: logged once when a request fails
//! because of one, and once more when the dependency answers again. The requests
//! in between are answered, and logged at `debug` only.

use std::{
    error::Error,
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

use failure_kind::FailureKind;

/// How often one task of the service probes a dependency that is down.
pub const PROBE_INTERVAL: Duration = Duration::from_secs(1);

/// Whether one dependency of this process is down.
#[derive(Debug)]
pub struct Outage {
    dependency: &'static str,
    effect: &'static str,
    down: AtomicBool,
}

impl Outage {
    /// A dependency without which requests are answered 503. It is up until a
    /// failure is recorded. `dependency` is its name in the log.
    pub const fn of(dependency: &'static str) -> Self {
        Self::with_effect(dependency, "requests that need it are refused with 503")
    }

    /// As [`Outage::of`], where an outage has another effect than refused requests.
    pub const fn with_effect(dependency: &'static str, effect: &'static str) -> Self {
        Self { dependency, effect, down: AtomicBool::new(false) }
    }

    /// The name of the dependency in the log.
    pub fn dependency(&self) -> &'static str {
        self.dependency
    }

    /// Records that the dependency failed in this way. The first failure of an outage is logged as a warning, whatever
    /// kinds follow.
    pub fn record_failure(&self, kind: FailureKind, error: &(dyn Error + 'static)) {
        let Self { dependency, effect, .. } = self;
        let kind = kind.name();
        if self.down.swap(true, Ordering::Relaxed) {
            tracing::debug!(error, dependency, kind, "{dependency} still unreachable");
        } else {
            tracing::warn!(error, dependency, kind, "{dependency} unreachable: {effect} until it answers");
        }
    }

    /// Records that the dependency answered. The first success after an outage is logged.
    pub fn record_success(&self) {
        let dependency = self.dependency;
        if self.down.swap(false, Ordering::Relaxed) {
            tracing::info!(dependency, "{dependency} reachable again");
        }
    }

    /// The last record is a failure; probe it every [`PROBE_INTERVAL`].
    pub fn is_down(&self) -> bool {
        self.down.load(Ordering::Relaxed)
    }

    /// Records the result of a probe. A failed probe changes nothing.
    pub fn record_probe<E>(&self, answer: Result<(), E>) {
        if answer.is_ok() {
            self.record_success();
        }
    }
}
