//! Outages of what a service depends on: logged once when a request fails
//! because of one, and once more when the dependency answers again. The requests
//! in between are answered, and logged at `debug` only.

use std::{
    error::Error,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use failure_kind::FailureKind;
use tokio::time::Instant;

/// How often one task of the service probes a dependency that is down.
pub const PROBE_INTERVAL: Duration = Duration::from_secs(1);
/// A probe ends an outage only if nothing failed for this long: a dependency may answer probes and fail requests, and a
/// call that began during the outage may fail after the first probe has succeeded.
const QUIET: Duration = Duration::from_secs(2);

/// Whether one dependency of this process is down.
#[derive(Debug)]
pub struct Outage {
    dependency: &'static str,
    effect: &'static str,
    /// When it failed last; `None` while it is up.
    last_failure: Mutex<Option<Instant>>,
}

impl Outage {
    /// A dependency without which requests are answered 503. It is up until a
    /// failure is recorded. `dependency` is its name in the log.
    pub const fn of(dependency: &'static str) -> Self {
        Self::with_effect(dependency, "requests that need it are refused with 503")
    }

    /// As [`Outage::of`], where an outage has another effect than refused requests.
    pub const fn with_effect(dependency: &'static str, effect: &'static str) -> Self {
        Self { dependency, effect, last_failure: Mutex::new(None) }
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
        if self.replace(Some(Instant::now())).is_some() {
            tracing::debug!(error, dependency, kind, "{dependency} still unreachable");
        } else {
            tracing::warn!(error, dependency, kind, "{dependency} unreachable: {effect} until it answers");
        }
    }

    /// Records that the dependency did what it is there for. The first success after an outage is logged.
    pub fn record_success(&self) {
        let dependency = self.dependency;
        if self.replace(None).is_some() {
            tracing::info!(dependency, "{dependency} reachable again");
        }
    }

    /// The last record is a failure; probe it every [`PROBE_INTERVAL`].
    pub fn is_down(&self) -> bool {
        self.failed_at().is_some()
    }

    /// Records the result of a probe. A failed probe changes nothing; a successful one ends the outage if nothing has
    /// failed for two seconds.
    pub fn record_probe<E>(&self, answer: Result<(), E>) {
        if answer.is_ok() && self.failed_at().is_some_and(|failed| failed.elapsed() >= QUIET) {
            self.record_success();
        }
    }

    fn failed_at(&self) -> Option<Instant> {
        *self.last_failure.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn replace(&self, last_failure: Option<Instant>) -> Option<Instant> {
        std::mem::replace(&mut self.last_failure.lock().unwrap_or_else(PoisonError::into_inner), last_failure)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_probe_ends_an_outage_only_once_nothing_has_failed_for_two_seconds() {
        let outage = Outage::of("postgres");
        let fail = || outage.record_failure(FailureKind::Gone, &std::io::Error::other("gone"));
        let probe = async || {
            tokio::time::advance(PROBE_INTERVAL).await;
            outage.record_probe(Ok::<_, ()>(()));
            outage.is_down()
        };
        fail();
        // A dependency that answers probes and fails requests.
        for _ in 0..5 {
            assert!(probe().await, "a request failed a second ago");
            fail();
        }
        assert!(probe().await);
        assert!(!probe().await, "two seconds without a failure");
    }
}
