//! How long a grant may live, and the arithmetic of how much of it is left.
//! Nothing here reads a clock.

use std::time::Duration;

/// How long a grant may live without being extended; the lock nodes delete it after that.
///
/// Between 10 ms and 24 h: below, clock drift and a single round trip eat the lease; above, a
/// crashed holder would block a resource for longer than anybody would wait.
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

/// A lease outside of the range in which a lock can keep its promise.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a lease of {asked:?} is not between {min:?} and {max:?}", min = Lease::MIN, max = Lease::MAX)]
pub struct LeaseOutOfRange {
    /// What was asked for.
    pub asked: Duration,
}

impl Lease {
    /// The shortest lease: 10 ms.
    pub const MIN: Duration = Duration::from_millis(10);
    /// The longest lease: 24 hours.
    pub const MAX: Duration = Duration::from_hours(24);

    /// A lease of `duration`, cut to whole milliseconds, the unit of the lock nodes.
    ///
    /// # Errors
    /// [`LeaseOutOfRange`] below [`MIN`](Self::MIN) or above [`MAX`](Self::MAX).
    pub fn new(duration: Duration) -> Result<Self, LeaseOutOfRange> {
        if (Self::MIN..=Self::MAX).contains(&duration) {
            let millis = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
            Ok(Self(Duration::from_millis(millis)))
        } else {
            Err(LeaseOutOfRange { asked: duration })
        }
    }

    /// The lease as a duration.
    pub fn get(self) -> Duration {
        self.0
    }

    /// What the clocks of the nodes and ours may disagree on during the lease: 1 % and 2 ms.
    ///
    /// Source: Redis documentation, "Distributed Locks with Redis", the safety argument.
    pub(crate) fn drift(self) -> Duration {
        self.0 / 100 + Duration::from_millis(2)
    }

    /// How much of the lease may be relied upon, counted from before the first node was asked.
    pub(crate) fn usable(self) -> Duration {
        self.0.saturating_sub(self.drift())
    }

    /// How much of it may still be relied upon when asking the nodes took `elapsed`; `None` when
    /// nothing is left: such a lock must not be handed out.
    #[cfg_attr(not(feature = "redis"), expect(dead_code, reason = "only nodes take their time"))]
    pub(crate) fn left_after(self, elapsed: Duration) -> Option<Duration> {
        self.usable().checked_sub(elapsed).filter(|left| !left.is_zero())
    }

    #[cfg(any(feature = "redis", feature = "postgres"))]
    pub(crate) fn millis(self) -> u64 {
        u64::try_from(self.0.as_millis()).unwrap_or(u64::MAX)
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
        fn elapsed_drift_and_remaining_validity_add_up_to_the_lease(
            millis in 10..86_400_000u64,
            share in 0.0..1.2f64,
        ) {
            let lease = Lease::new(Duration::from_millis(millis)).expect("in range");
            let elapsed = lease.get().mul_f64(share);
            match lease.left_after(elapsed) {
                Some(left) => prop_assert_eq!(elapsed + lease.drift() + left, lease.get()),
                None => prop_assert!(elapsed + lease.drift() >= lease.get()),
            }
        }

        #[test]
        fn a_lease_is_in_range_or_refused(nanos in any::<u64>()) {
            let asked = Duration::from_nanos(nanos);
            let in_range = (Lease::MIN..=Lease::MAX).contains(&asked);
            prop_assert_eq!(Lease::new(asked).is_ok(), in_range);
        }
    }
}
