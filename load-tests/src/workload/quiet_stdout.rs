//! Silences standard output while goose runs: it prints a line of its own at the start of every attack, which no option
//! turns off, and the standard output of `oversell` is the verdict.
//!
//! Invariant: standard output is what it was before once the last guard is dropped, in whatever order they are.
//! Absence: nothing of this program prints there during an attack; progress is on standard error.

use std::fs::OpenOptions;
use std::io;
use std::os::fd::OwnedFd;
use std::sync::{Mutex, MutexGuard, PoisonError};

static SILENCED: Mutex<Silenced> = Mutex::new(Silenced { guards: 0, original: None });

/// The state of the process.
struct Silenced {
    guards: usize,
    original: Option<OwnedFd>,
}

/// While one of these lives, standard output is discarded.
#[derive(Debug)]
pub(super) struct QuietStdout(());

impl QuietStdout {
    /// # Errors
    /// The process has no file descriptor left.
    pub(super) fn begin() -> io::Result<Self> {
        let mut silenced = lock();
        if silenced.guards == 0 {
            let nothing = OpenOptions::new().write(true).open("/dev/null")?;
            // Closed on exec: a replica that is started meanwhile must not keep the reader of the verdict waiting.
            silenced.original = Some(rustix::io::fcntl_dupfd_cloexec(io::stdout(), 0)?);
            rustix::stdio::dup2_stdout(&nothing)?;
        }
        silenced.guards += 1;
        Ok(Self(()))
    }
}

impl Drop for QuietStdout {
    fn drop(&mut self) {
        let mut silenced = lock();
        silenced.guards -= 1;
        if silenced.guards == 0
            && let Some(original) = silenced.original.take()
            && let Err(error) = rustix::stdio::dup2_stdout(&original)
        {
            tracing::warn!(%error, "standard output could not be restored: the verdict is in the report only");
        }
    }
}

fn lock() -> MutexGuard<'static, Silenced> {
    SILENCED.lock().unwrap_or_else(PoisonError::into_inner)
}
