//! Something the service leans on, which may be away: said once when a request
//! finds out, and once more when it is back. Every request that fails
//! meanwhile has its answer, and nothing to add to the log.

use std::{
    error::Error,
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

/// Whoever is away is asked this often, and by one task alone.
pub const PROBE_INTERVAL: Duration = Duration::from_secs(1);

/// One dependency of this process.
#[derive(Debug)]
pub struct Outage {
    dependency: &'static str,
    down: AtomicBool,
}

impl Outage {
    /// It is there.
    pub const fn of(dependency: &'static str) -> Self {
        Self { dependency, down: AtomicBool::new(false) }
    }

    /// A request could not be served because of it.
    pub fn record_failure(&self, error: &(dyn Error + 'static)) {
        let dependency = self.dependency;
        if self.down.swap(true, Ordering::Relaxed) {
            tracing::debug!(error, dependency, "still away");
        } else {
            tracing::warn!(error, dependency, "away; what needs it is refused until it is back");
        }
    }

    /// Whether somebody should ask it if it is back.
    pub fn is_down(&self) -> bool {
        self.down.load(Ordering::Relaxed)
    }

    /// It was asked, and this is what it said.
    pub fn record_probe<E>(&self, answer: Result<(), E>) {
        if answer.is_ok() && self.down.swap(false, Ordering::Relaxed) {
            tracing::info!(dependency = self.dependency, "back");
        }
    }
}
