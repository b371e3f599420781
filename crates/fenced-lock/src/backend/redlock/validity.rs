//! How much of a lease is left when a quorum has answered. Pure.

use std::time::Duration;

use crate::Lease;

/// How long the lock can be relied upon when acquiring it took `elapsed`. `None` when nothing is left: such a
/// lock must not be granted.
pub(super) fn remaining_validity(lease: Lease, elapsed: Duration) -> Option<Duration> {
    lease.usable().checked_sub(elapsed).filter(|remaining| !remaining.is_zero())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn elapsed_drift_and_remaining_validity_add_up_to_the_lease(
            millis in 10..86_400_000u64,
            share in 0.0..1.2f64,
        ) {
            let lease = Lease::new(Duration::from_millis(millis)).expect("in range");
            let elapsed = lease.get().mul_f64(share);
            let drift = Duration::from_micros(millis * 10) + Duration::from_millis(2);
            match remaining_validity(lease, elapsed) {
                Some(remaining) => prop_assert_eq!(elapsed + drift + remaining, lease.get()),
                None => prop_assert!(elapsed + drift >= lease.get()),
            }
        }
    }
}
