//! Keeping a grant alive for as long as the work takes: opt-in, because a lock that renews itself
//! also outlives a holder that hangs. Nothing here decides whether the lock is still ours; the
//! nodes do.

use std::future::Future;
use std::time::Duration;

use tokio::time::Instant;

use crate::{Grant, Grants, Lease, LockError};

/// Runs `work` and extends by `lease` at a third of it, again and again, until the work is done
/// or the lock is lost.
///
/// A failed extension is tried again after a tenth of the lease, as long as the lock is valid.
pub(crate) async fn keep<W, X, F>(work: W, lease: Lease, lost: impl Future<Output = ()>, extend: X) -> Option<W::Output>
where
    W: Future,
    X: Fn(Lease) -> F,
    F: Future<Output = Result<(), LockError>>,
{
    let renew = async {
        let mut pause = Duration::ZERO;
        loop {
            tokio::time::sleep_until(Instant::now() + pause).await;
            pause = match extend(lease).await {
                Ok(()) => lease.get() / 3,
                Err(LockError::Lost { .. }) => std::future::pending().await,
                Err(error) => {
                    tracing::warn!(%error, "a lock could not be extended, trying again");
                    lease.get() / 10
                }
            };
        }
    };
    tokio::select! {
        // Work that is done is done, even if the lock was lost in the same moment.
        biased;
        output = work => Some(output),
        () = lost => None,
        () = renew => None,
    }
}

impl Grant {
    /// Does `work` under this lock, extending it by `lease` three times per lease until the work
    /// is done: the watchdog. `None` when the lock was lost first; the work was then dropped
    /// where it stood.
    ///
    /// The grant is yours again afterwards; release it.
    ///
    /// # Cancel safety
    /// Dropping the future drops the work and stops extending.
    pub async fn keep_while<W: Future>(&self, lease: Lease, work: W) -> Option<W::Output> {
        keep(work, lease, self.lost(), |lease| self.extend(lease)).await
    }
}

impl Grants {
    /// Does `work` under these locks, extending all of them. See [`Grant::keep_while`].
    ///
    /// # Cancel safety
    /// As [`Grant::keep_while`].
    pub async fn keep_while<W: Future>(&self, lease: Lease, work: W) -> Option<W::Output> {
        keep(work, lease, self.lost(), |lease| self.extend(lease)).await
    }
}
