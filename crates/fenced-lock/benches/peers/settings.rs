//! How much is measured, and the lease of every subject.

use std::time::Duration;

/// Longer than any cycle, so that no lease ends during a measurement.
pub(crate) const LEASE: Duration = Duration::from_secs(10);

/// The size of a run.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Size {
    /// How often every case is measured; the medians are reported.
    pub(crate) runs: usize,
    /// Cycles of each subject in a case whose subjects take turns.
    pub(crate) cycles: usize,
    /// The length of a case that is measured by the clock.
    pub(crate) duration: Duration,
    /// Callers that wait and do nothing else.
    pub(crate) waiters: usize,
}

impl Size {
    pub(crate) const FULL: Self = Self { runs: 3, cycles: 1_200, duration: Duration::from_secs(10), waiters: 1_000 };
    pub(crate) const QUICK: Self = Self { runs: 1, cycles: 200, duration: Duration::from_secs(1), waiters: 200 };
}
