//! How a process is ended: the signal, and the grace before SIGKILL.

use std::time::Duration;

use rustix::process::Signal;

/// How a process is asked to end, and how long it may take before it is killed.
#[derive(Debug, Clone, Copy)]
pub(crate) struct StopPolicy {
    signal: Signal,
    grace: Duration,
}

impl StopPolicy {
    /// At once, with nothing to lose.
    pub(crate) const KILL: Self = Self { signal: Signal::KILL, grace: Duration::ZERO };
    /// What Postgres calls *immediate*: it ends its children and gives back its shared memory.
    pub(crate) const QUIT: Self = Self { signal: Signal::QUIT, grace: Duration::from_secs(5) };

    /// In good order, within `grace`.
    pub(crate) const fn term(grace: Duration) -> Self {
        Self { signal: Signal::TERM, grace }
    }

    pub(crate) fn signal(self) -> Signal {
        self.signal
    }

    pub(crate) fn grace(self) -> Duration {
        self.grace
    }

    /// As `kill -s` spells it.
    pub(crate) fn signal_name(self) -> &'static str {
        match self.signal {
            Signal::QUIT => "QUIT",
            Signal::TERM => "TERM",
            _ => "KILL",
        }
    }
}
