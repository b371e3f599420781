//! The watchdog: extends a lock while work goes on. Opt-in, because a lock that renews itself also
//! outlives a holder that hangs. Nothing here decides whether the lock is still held; the nodes do.

use std::future::Future;
use std::time::Duration;

use tokio::time::Instant;

use crate::{Grant, Grants, Lease, LockError};

/// Runs `work` and extends the lock by `lease` every third of it, until the work is done or the lock is lost.
///
/// A failed extension is tried again after a tenth of the lease, as long as the lock is valid.
async fn keep_while<W, X, F>(work: W, lease: Lease, lost: impl Future<Output = ()>, extend: X) -> Option<W::Output>
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
                    tracing::warn!(%error, "lock not extended, trying again after a tenth of its lease");
                    lease.get() / 10
                }
            };
        }
    };
    tokio::select! {
        // Finished work counts, even if the lock was lost in the same moment.
        biased;
        output = work => Some(output),
        () = lost => None,
        () = renew => None,
    }
}

impl Grant {
    /// Runs `work` under this lock and extends the lock by `lease` three times per lease until the work
    /// is done: the watchdog. `None` when the lock was lost first; the work is then cancelled.
    ///
    /// The lock is still held afterwards; release it.
    ///
    /// # Cancel safety
    /// Dropping the future drops the work and stops extending.
    ///
    /// # Example
    /// ```
    /// # tokio::runtime::Runtime::new()?.block_on(async {
    /// # let servers = testbed::redis_nodes(3).await?;
    /// # let nodes = fenced_lock::Nodes::parse(&servers.iter().map(|node| node.url()).collect::<Vec<_>>().join(","))?;
    /// # let locks = fenced_lock::Locks::redlock(nodes, fenced_lock::Options::default());
    /// use std::time::Duration;
    /// use fenced_lock::{Lease, ReleaseOutcome, Resource, Wait};
    ///
    /// let (job, lease) = (Resource::new("job:nightly")?, Lease::new(Duration::from_secs(1))?);
    /// let grant = locks.try_lock(&job, Wait::none(), lease).await?.expect("the lock is free");
    /// let work = async {
    ///     tokio::time::sleep(Duration::from_millis(1_500)).await; // longer than the lease
    ///     "done"
    /// };
    /// assert_eq!(grant.keep_while(lease, work).await, Some("done"));
    /// assert_eq!(grant.release().await?, ReleaseOutcome::Released);
    /// # Ok::<_, Box<dyn std::error::Error>>(()) })?;
    /// # Ok::<_, Box<dyn std::error::Error>>(())
    /// ```
    pub async fn keep_while<W: Future>(&self, lease: Lease, work: W) -> Option<W::Output> {
        keep_while(work, lease, self.lost(), |lease| self.extend(lease)).await
    }
}

impl Grants {
    /// Runs `work` under these locks and extends all of them. See [`Grant::keep_while`].
    ///
    /// # Cancel safety
    /// As [`Grant::keep_while`].
    pub async fn keep_while<W: Future>(&self, lease: Lease, work: W) -> Option<W::Output> {
        keep_while(work, lease, self.lost(), |lease| self.extend(lease)).await
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use tokio::time::sleep;

    use super::*;
    use crate::{FailureKind, Locks, NodeError, Resource, Wait};

    const LEASE: Duration = Duration::from_secs(9);

    fn lease() -> Lease {
        Lease::new(LEASE).expect("a lease")
    }

    fn lost() -> LockError {
        LockError::Lost { resource: Resource::new("sku:1").expect("a name") }
    }

    fn unavailable() -> LockError {
        let source = NodeError::new(&"test".into(), FailureKind::Silent, std::fmt::Error);
        LockError::Unavailable { backend: "test", source }
    }

    /// Runs work of this duration. The extensions return `results` from the back, then succeed. Returns the start of each.
    async fn extensions(working: Duration, results: Vec<LockError>) -> (Option<()>, Vec<Duration>) {
        let (started, results) = (Instant::now(), Mutex::new(results));
        let starts = Arc::new(Mutex::new(Vec::new()));
        let (gone, is_gone) = tokio::sync::watch::channel(false);
        let extend = |_| {
            starts.lock().expect("no panic").push(started.elapsed());
            let result = results.lock().expect("no panic").pop();
            // As a grant does: `lost()` resolves.
            gone.send_replace(matches!(result, Some(LockError::Lost { .. })));
            async move { result.map_or(Ok(()), Err) }
        };
        let lost = async {
            let mut is_gone = is_gone.clone();
            is_gone.wait_for(|gone| *gone).await.expect("the sender lives");
        };
        let output = keep_while(sleep(working), lease(), lost, extend).await;
        let starts = starts.lock().expect("no panic").clone();
        (output, starts)
    }

    #[tokio::test(start_paused = true)]
    async fn the_watchdog_extends_at_once_and_then_at_a_third_of_the_lease() {
        let (output, starts) = extensions(Duration::from_secs(10), vec![]).await;
        assert_eq!(output, Some(()));
        assert_eq!(starts.len(), 4);
        for (number, start) in (0..).zip(starts) {
            let due = LEASE / 3 * number;
            assert!(start >= due && start < due + LEASE / 30, "extension {number} at {start:?}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_failed_extension_is_tried_again_after_a_tenth_of_the_lease() {
        let (output, starts) = extensions(Duration::from_secs(2), vec![unavailable(), unavailable()]).await;
        assert_eq!(output, Some(()));
        assert_eq!(starts.len(), 3);
        assert!(starts[2] < LEASE / 3, "well before the lease ends: {starts:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn nothing_is_extended_any_more_once_the_lock_is_lost() {
        let (output, starts) = extensions(Duration::from_mins(5), vec![lost()]).await;
        assert_eq!(output, None);
        assert_eq!(starts.len(), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn work_that_outlasts_many_leases_is_done_under_one_grant() {
        let sku = Resource::new("sku:1").expect("a name");
        let grant = Locks::off().try_lock(&sku, Wait::none(), lease()).await.expect("off").expect("off");
        assert_eq!(grant.keep_while(lease(), sleep(LEASE * 20)).await, Some(()));
        assert!(grant.valid_until() > Instant::now());
    }

    #[tokio::test(start_paused = true)]
    async fn without_the_watchdog_a_grant_is_lost_when_its_validity_ends() {
        let sku = Resource::new("sku:1").expect("a name");
        let started = Instant::now();
        let grant = Locks::off().try_lock(&sku, Wait::none(), lease()).await.expect("off").expect("off");
        grant.lost().await;
        assert!(Instant::now() >= grant.valid_until() && started.elapsed() < LEASE);
    }

    #[tokio::test(start_paused = true)]
    async fn lost_resolves_later_after_an_extension() {
        let sku = Resource::new("sku:1").expect("a name");
        let started = Instant::now();
        let grant = Locks::off().try_lock(&sku, Wait::none(), lease()).await.expect("off").expect("off");
        let extend = async {
            sleep(LEASE / 2).await;
            grant.extend(lease()).await.expect("off");
        };
        tokio::join!(grant.lost(), extend);
        assert!(started.elapsed() > LEASE && started.elapsed() < LEASE * 3 / 2);
    }
}
