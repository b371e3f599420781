//! How long a lock lives without an extension, and how much of that time can be relied upon.
//! Nothing here reads a clock.

use std::time::Duration;

/// How long a lock lives without an extension; the lock nodes delete it after that.
///
/// Between 10 ms and 24 h: below, clock drift and a single round trip use up the lease; above,
/// a crashed holder would block a resource for too long to be useful.
///
/// ```
/// use std::time::Duration;
/// use fenced_lock::Lease;
///
/// let lease = Lease::new(Duration::from_secs(10))?;
/// assert_eq!(lease.get(), Duration::from_secs(10));
/// assert!(Lease::new(Duration::from_millis(1)).is_err());
/// # Ok::<_, fenced_lock::LeaseOutOfRange>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Lease(Duration);

/// A lease outside of the range from 10 ms to 24 h.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a lease of {requested:?} is not between {min:?} and {max:?}", min = Lease::MIN, max = Lease::MAX)]
pub struct LeaseOutOfRange {
    /// The refused duration.
    pub requested: Duration,
}

impl Lease {
    /// The shortest lease: 10 ms.
    pub const MIN: Duration = Duration::from_millis(10);
    /// The longest lease: 24 hours.
    pub const MAX: Duration = Duration::from_hours(24);

    /// A lease of `duration`, truncated to whole milliseconds, the unit of the lock nodes.
    ///
    /// # Errors
    /// [`LeaseOutOfRange`] below [`MIN`](Self::MIN) or above [`MAX`](Self::MAX).
    pub fn new(duration: Duration) -> Result<Self, LeaseOutOfRange> {
        if (Self::MIN..=Self::MAX).contains(&duration) {
            let millis = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
            Ok(Self(Duration::from_millis(millis)))
        } else {
            Err(LeaseOutOfRange { requested: duration })
        }
    }

    /// The lease as a duration.
    pub fn get(self) -> Duration {
        self.0
    }

    /// The allowance for clocks of nodes and clients that run at different speeds: 1 % of the lease and 2 ms.
    ///
    /// Source: Redis documentation, "Distributed Locks with Redis", the safety argument.
    fn drift(self) -> Duration {
        self.0 / 100 + Duration::from_millis(2)
    }

    /// How much of the lease can be relied upon, counted from before the first command was sent.
    pub(crate) fn usable(self) -> Duration {
        self.0.saturating_sub(self.drift())
    }
}

impl TryFrom<Duration> for Lease {
    type Error = LeaseOutOfRange;

    fn try_from(duration: Duration) -> Result<Self, Self::Error> {
        Self::new(duration)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn the_usable_lease_is_shorter_by_one_percent_and_two_milliseconds(millis in 10..86_400_000u64) {
            let lease = Lease::new(Duration::from_millis(millis)).expect("in range");
            let drift = lease.get().saturating_sub(lease.usable());
            prop_assert_eq!(drift, Duration::from_micros(millis * 10) + Duration::from_millis(2));
            prop_assert!(lease.usable() > Duration::ZERO);
        }

        #[test]
        fn a_lease_is_in_range_or_refused(nanos in any::<u64>()) {
            let requested = Duration::from_nanos(nanos);
            let in_range = (Lease::MIN..=Lease::MAX).contains(&requested);
            prop_assert_eq!(Lease::new(requested).is_ok(), in_range);
        }
    }
}
