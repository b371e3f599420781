//! Leader election on the same locks: the holder of the election's lock leads, a watchdog extends it,
//! and the fencing token lets the storage refuse a leader that was paused for longer than its lease.
//!
//! A leader is never certain that it leads *now*: writes that must not happen twice are guarded by the
//! token, not by a check of the leadership.

use std::sync::Arc;
use std::time::Duration;

use tokio::task::AbortHandle;
use tokio::time::Instant;

use crate::{Grant, Holder, Lease, LockError, Locks, ReleaseOutcome, Resource, Token, Wait};

/// How long an observer relies on notifications alone before it reads the leader again.
const MAX_NOTIFICATION_WAIT: Duration = Duration::from_secs(5);

/// An election with many candidates and at most one leader. Cheap to clone.
///
/// ```no_run
/// # async fn demo(locks: fenced_lock::Locks) -> Result<(), Box<dyn std::error::Error>> {
/// use std::time::Duration;
/// use fenced_lock::{Election, Lease, Resource, Wait};
///
/// let election = Election::new(locks, Resource::new("leader:sweeper")?, Lease::new(Duration::from_secs(5))?);
/// if let Some(leadership) = election.campaign(Wait::up_to(Duration::from_secs(60))).await? {
///     let token = leadership.token();    // hand it to the storage with every write
///     tokio::select! {
///         () = leadership.lost() => {}   // stop; another leader may have been elected
///         () = work(token) => { leadership.resign().await?; }
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

/// A leadership, extended by a watchdog until it is lost, resigned or dropped.
///
/// The watchdog runs in a task of its own: a leader whose work hangs, while its runtime does not, keeps the
/// leadership.
#[derive(Debug)]
#[must_use = "a leadership that is dropped is resigned"]
pub struct Leadership {
    grant: Arc<Grant>,
    watchdog: Watchdog,
}

/// The task that extends the lock; ends when dropped.
#[derive(Debug)]
struct Watchdog(AbortHandle);

impl Drop for Watchdog {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// A stream of leaders. See [`Election::observe`].
#[derive(Debug)]
pub struct Observer {
    election: Election,
    last: LastReport,
}

/// What the observer returned last.
#[derive(Clone, Debug, PartialEq, Eq)]
enum LastReport {
    None,
    NoLeader,
    Leader(Holder),
}

impl LastReport {
    /// A token that could not be read this time is not a change; a token that can be read for the first time is.
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
    /// The election that the lock on `resource` decides. A leader that stops extending is replaced after `lease`.
    pub fn new(locks: Locks, resource: Resource, lease: Lease) -> Self {
        Self { locks, resource, lease }
    }

    /// Campaigns for up to `wait`; `None` means that another candidate still led when the wait ended.
    ///
    /// # Errors
    /// As [`Locks::try_lock`].
    ///
    /// # Cancel safety
    /// As [`Locks::try_lock`]: a dropped campaign leaves nothing behind.
    pub async fn campaign(&self, wait: Wait) -> Result<Option<Leadership>, LockError> {
        let Some(grant) = self.locks.try_lock(&self.resource, wait, self.lease).await? else {
            return Ok(None);
        };
        let (grant, lease) = (Arc::new(grant), self.lease);
        let kept = Arc::clone(&grant);
        let task = tokio::spawn(async move { kept.keep_while(lease, std::future::pending::<()>()).await });
        Ok(Some(Leadership { grant, watchdog: Watchdog(task.abort_handle()) }))
    }

    /// The current leader. Outdated before it is read: for display, not for decisions.
    ///
    /// # Errors
    /// As [`Locks::holder`].
    pub async fn leader(&self) -> Result<Option<Holder>, LockError> {
        self.locks.holder(&self.resource).await
    }

    /// Observes the leaders. etcd and ZooKeeper report changes; the other backends are polled four times a
    /// second, so that a leadership shorter than that may be missed.
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

    /// The leader's name, which other clients see as [`Holder::name`].
    pub fn name(&self) -> &str {
        self.grant.owner()
    }

    /// Until when the leadership can be relied upon, unless it is extended before. See
    /// [`Grant::valid_until`].
    pub fn valid_until(&self) -> Instant {
        self.grant.valid_until()
    }

    /// Resolves when the leadership can no longer be relied upon: it could not be extended in time,
    /// or this process was paused for too long. It does not come back; campaign again.
    ///
    /// # Cancel safety
    /// Safe: the future can be dropped and created again.
    pub async fn lost(&self) {
        self.grant.lost().await;
    }

    /// Gives up the leadership at once, so that the next leader does not wait for the lease. Reports whether
    /// it was still held.
    ///
    /// # Errors
    /// As [`Grant::release`].
    ///
    /// # Cancel safety
    /// The leadership is resigned even if the future is dropped.
    pub async fn resign(self) -> Result<ReleaseOutcome, LockError> {
        let Self { mut grant, watchdog } = self;
        drop(watchdog);
        loop {
            match Arc::try_unwrap(grant) {
                Ok(grant) => return grant.release().await,
                // The watchdog's task still owns a clone until its abort takes effect.
                Err(shared) => grant = shared,
            }
            tokio::task::yield_now().await;
        }
    }
}

impl Observer {
    /// The leader: the first time at once, then after each change. `None` while there is no leader.
    ///
    /// # Errors
    /// As [`Locks::holder`]. Call again: a change that lasts is not missed.
    ///
    /// # Cancel safety
    /// Safe: call again.
    pub async fn next(&mut self) -> Result<Option<Holder>, LockError> {
        loop {
            let (leader, changed) = self.election.locks.read_holder(&self.election.resource).await?;
            if self.last.is_outdated_by(leader.as_ref()) {
                self.last = leader.clone().map_or(LastReport::NoLeader, LastReport::Leader);
                return Ok(leader);
            }
            let _ = tokio::time::timeout(MAX_NOTIFICATION_WAIT, changed).await;
        }
    }
}
