//! Faults that a service can inflict on its own process. Called only where the lab is switched on.

use nix::sys::signal::{Signal, raise};

/// Stops the whole process here, as a pause of its host would, and returns after SIGCONT.
///
/// The signal goes to this thread, so that it does not run on; the kernel stops the others with it.
pub fn stop_this_process() {
    if let Err(error) = raise(Signal::SIGSTOP) {
        tracing::error!(%error, "lab: this process could not be stopped, the pause is skipped");
    }
}
