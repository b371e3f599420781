//! How long a caller waits for a lock.

use std::time::Duration;

/// How long a caller waits for a lock that another caller holds.
///
/// Only contention is waited out; a lost quorum is reported at once.
///
/// ```
/// use std::time::Duration;
/// use fenced_lock::Wait;
///
/// assert_eq!(Wait::none().get(), Duration::ZERO);
/// assert_eq!(Wait::up_to(Duration::MAX).get(), Wait::MAX);
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Wait(Duration);

impl Wait {
    /// The longest wait: 24 hours. Longer waits are cut to it.
    pub const MAX: Duration = Duration::from_hours(24);

    /// Tries once and does not wait.
    pub fn none() -> Self {
        Self(Duration::ZERO)
    }

    /// Waits for up to `limit` while another caller holds the lock.
    ///
    /// A round trip that is under way when the limit is reached is completed, so a call
    /// can take longer by one node timeout.
    pub fn up_to(limit: Duration) -> Self {
        Self(limit.min(Self::MAX))
    }

    /// The wait as a duration.
    pub fn get(self) -> Duration {
        self.0
    }
}
