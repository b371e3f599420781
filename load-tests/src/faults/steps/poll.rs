//! How often a state of another process is read, where no event reports a change.

use std::time::Duration;

/// The pause between two reads.
pub(crate) const POLL_INTERVAL: Duration = Duration::from_millis(5);
