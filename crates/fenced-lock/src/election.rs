//! Leader election on the same grants: who has the lock of the election leads, a watchdog extends it,
//! and the fencing token lets storage refuse a leader that was paused and does not know yet.
//!
//! A leader is never certain that it leads *now*: whatever must not happen twice is guarded by the
//! token, not by asking.

use std::sync::Arc;

use tokio::task::AbortHandle;
use tokio::time::Instant;

use crate::holder::Notification;
use crate::{Grant, Holder, Lease, LockError, Locks, ReleaseOutcome, Resource, Token, Wait};

/// One resource that many campaign for. Cheap to clone.
///
/// ```no_run
/// # async fn demo(locks: fenced_lock::Locks) -> Result<(), Box<dyn std::error::Error>> {
/// use std::time::Duration;
/// use fenced_lock::{Election, Lease, Resource, Wait};
///
/// let election = Election::new(locks, Resource::new("leader:sweeper")?, Lease::new(Duration::from_secs(5))?);
/// if let Some(leadership) = election.campaign(Wait::up_to(Duration::from_secs(60))).await? {
///     let term = leadership.token();     // hand it to the storage with every write
///     tokio::select! {
///         () = leadership.lost() => {}   // stop; somebody else may lead already
///         () = work(term) => { leadership.resign().await?; }
///     }
/// }
/// # Ok(()) }
/// # async fn work(_: Option<fenced_lock::Token>) {}
/// ```
#[derive(Clone, Debug)]
pub struct Election {
    locks: Locks,
    resource: Resource,
    lease: Lease,
}

/// An election that was won, kept by a watchdog until it is lost, resigned or dropped.
///
/// The watchdog runs in a task of its own: a leader that hangs, while its runtime does not, leads on.
#[derive(Debug)]
#[must_use = "a leadership that is dropped is resigned"]
pub struct Leadership {
    grant: Arc<Grant>,
    watchdog: Watchdog,
}

/// Ends the task when dropped.
#[derive(Debug)]
struct Watchdog(AbortHandle);

impl Drop for Watchdog {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Watches who leads. See [`Election::observe`].
#[derive(Debug)]
pub struct Observer {
    election: Election,
    last: LastReport,
}

/// What was told last.
#[derive(Clone, Debug, PartialEq, Eq)]
enum LastReport {
    None,
    NoLeader,
    Leader(Holder),
}

impl LastReport {
    /// A token that could not be read this time is no news; one that can be read now is.
    fn is_outdated_by(&self, leader: Option<&Holder>) -> bool {
        match (self, leader) {
            (Self::None, _) | (Self::NoLeader, Some(_)) | (Self::Leader(_), None) => true,
            (Self::NoLeader, None) => false,
            (Self::Leader(last), Some(leader)) => {
                last.name() != leader.name() || (last.token() != leader.token() && leader.token().is_some())
            }
        }
    }
}

impl Election {
    /// The election for `resource`. A leader that falls silent is replaced after `lease`.
    pub fn new(locks: Locks, resource: Resource, lease: Lease) -> Self {
        Self { locks, resource, lease }
    }

    /// Campaigns for up to `wait`; `None` means that somebody else still led then.
    ///
    /// # Errors
    /// As [`Locks::try_lock`].
    ///
    /// # Cancel safety
    /// As [`Locks::try_lock`]: a campaign that is dropped leaves nothing behind.
    pub async fn campaign(&self, wait: Wait) -> Result<Option<Leadership>, LockError> {
        let Some(grant) = self.locks.try_lock(&self.resource, wait, self.lease).await? else {
            return Ok(None);
        };
        let (grant, lease) = (Arc::new(grant), self.lease);
        let kept = Arc::clone(&grant);
        let task = tokio::spawn(async move { kept.keep_while(lease, std::future::pending::<()>()).await });
        Ok(Some(Leadership { grant, watchdog: Watchdog(task.abort_handle()) }))
    }

    /// Who leads, as seen now.
    ///
    /// # Errors
    /// As [`Locks::holder`].
    pub async fn leader(&self) -> Result<Option<Holder>, LockError> {
        self.locks.holder(&self.resource).await
    }

    /// Watches who leads. etcd and ZooKeeper tell of changes; the others are looked at four times a
    /// second, so that a leadership shorter than that may go unseen.
    pub fn observe(&self) -> Observer {
        Observer { election: self.clone(), last: LastReport::None }
    }
}

impl Leadership {
    /// The fencing token of this leadership, where the backend issues them: later leaders have
    /// greater ones.
    pub fn token(&self) -> Option<Token> {
        self.grant.token()
    }

    /// Who leads: what [`Holder::name`] tells others.
    pub fn name(&self) -> &str {
        self.grant.owner()
    }

    /// Until when the leadership may be relied upon, unless it is extended before. See
    /// [`Grant::valid_until`].
    pub fn valid_until(&self) -> Instant {
        self.grant.valid_until()
    }

    /// Resolves when the leadership cannot be relied upon any more: it could not be extended in time,
    /// or this process was paused for too long. It does not come back; campaign again.
    ///
    /// # Cancel safety
    /// Safe: ask again.
    pub async fn lost(&self) {
        self.grant.lost().await;
    }

    /// Steps down at once, so that the next one leads without waiting for the lease. Tells whether
    /// it was still ours.
    ///
    /// # Errors
    /// As [`Grant::release`].
    ///
    /// # Cancel safety
    /// Once polled, or dropped, it is resigned in any case.
    pub async fn resign(self) -> Result<ReleaseOutcome, LockError> {
        let Self { mut grant, watchdog } = self;
        drop(watchdog);
        loop {
            match Arc::try_unwrap(grant) {
                Ok(grant) => return grant.release().await,
                // The watchdog's task is about to end, and with it its share.
                Err(shared) => grant = shared,
            }
            tokio::task::yield_now().await;
        }
    }
}

impl Observer {
    /// Who leads; the first time at once, then whenever it is somebody else, or nobody.
    ///
    /// # Errors
    /// As [`Locks::holder`]. Ask again; nothing that lasts is missed.
    ///
    /// # Cancel safety
    /// Safe: ask again.
    pub async fn next(&mut self) -> Result<Option<Holder>, LockError> {
        loop {
            let (leader, change) = self.election.locks.read_holder(&self.election.resource).await?;
            if self.last.is_outdated_by(leader.as_ref()) {
                self.last = leader.clone().map_or(LastReport::NoLeader, LastReport::Leader);
                return Ok(leader);
            }
            Notification::wait(change).await;
        }
    }
}
