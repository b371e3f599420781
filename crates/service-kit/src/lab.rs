//! What the laboratory of every service can do to its own process. Nothing calls it where the lab is off.

use nix::sys::signal::{Signal, raise};

/// Stops the whole process here, as a pause of its host would; returns when somebody continued it.
///
/// To this thread, so that it goes no further; the kernel stops the others with it.
pub fn stop_this_process() {
    if let Err(error) = raise(Signal::SIGSTOP) {
        tracing::error!(%error, "the lab could not stop this process");
    }
}
