//! What a release reports.

/// Whether a lock was still held when [`Grant::release`](crate::Grant::release) gave it up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReleaseOutcome {
    /// The grant held the lock until this release.
    Released,
    /// The lock expired, or its nodes lost it, before this release. No other holder's lock was touched.
    NotHeld,
}
