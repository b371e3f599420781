//! How a process is ended: the signal, and the grace before SIGKILL.

use std::time::Duration;

use rustix::process::Signal;

/// The signal that ends a process, and the time until SIGKILL.
#[derive(Debug, Clone, Copy)]
pub(crate) struct StopPolicy {
    signal: Signal,
    grace: Duration,
}

impl StopPolicy {
    /// SIGKILL at once, for processes without state worth saving.
    pub(crate) const KILL: Self = Self { signal: Signal::KILL, grace: Duration::ZERO };
    /// SIGQUIT, Postgres's *immediate* shutdown: it ends its children and releases its shared memory.
    pub(crate) const QUIT: Self = Self { signal: Signal::QUIT, grace: Duration::from_secs(5) };

    /// SIGTERM, a shutdown in order within `grace`.
    pub(crate) const fn term(grace: Duration) -> Self {
        Self { signal: Signal::TERM, grace }
    }

    pub(crate) fn signal(self) -> Signal {
        self.signal
    }

    pub(crate) fn grace(self) -> Duration {
        self.grace
    }

    /// The name for `kill -s`.
    pub(crate) fn signal_name(self) -> &'static str {
        match self.signal {
            Signal::QUIT => "QUIT",
            Signal::TERM => "TERM",
            _ => "KILL",
        }
    }
}
