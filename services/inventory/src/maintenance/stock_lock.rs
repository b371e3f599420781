//! The locks that inventory acquires itself, before it returns units or sets stock. An order that holds one of
//! them never calls this code; it would wait for itself.
//! Invariant: no database connection is held during the wait for a lock.
//! Absence: nothing here changes stock; the token goes into the write, and Postgres decides.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use contract::Sku;
use fenced_lock::{Grants, Lease, LockError, Locks, Resource, Token, Wait};
use tokio::time::Instant;

use crate::{domain::error::StockError, store::StockDb};

/// Attempts of one change. After a stale token the counter is raised, so the second attempt normally succeeds.
const MAX_ATTEMPTS: usize = 4;

/// Redlock, where lock nodes are configured. Cheap to clone.
#[derive(Debug, Clone)]
pub struct StockLocks {
    redlock: Option<Locks>,
    lease: Lease,
    wait: Duration,
}

/// The locks of some SKUs, with a token for each SKU that takes its tokens from Redlock.
#[derive(Debug)]
pub struct StockGuard {
    grants: Option<Grants>,
    tokens: BTreeMap<Sku, i64>,
}

/// What one change may still spend on attempts.
#[derive(Debug)]
pub struct RetryBudget {
    deadline: Instant,
    attempts: usize,
}

impl StockLocks {
    /// Connects to nothing yet. Without lock nodes the fence alone decides: a change without a token increments it.
    pub fn new(redlock: Option<Locks>, lease: Lease, wait: Duration) -> Self {
        Self { redlock, lease, wait }
    }

    /// The locks themselves, for the election of the sweeper; `None` without lock nodes.
    pub fn redlock(&self) -> Option<&Locks> {
        self.redlock.as_ref()
    }

    /// Acquires no lock from now on, and waits until what was released has reached every node, for at most `within`.
    pub async fn close(&self, within: Duration) {
        if let Some(redlock) = &self.redlock
            && let Err(error) = redlock.close(within).await
        {
            tracing::warn!(%error, "locks not released everywhere at the end");
        }
    }

    /// How long a lock lives without being extended.
    pub fn lease(&self) -> Lease {
        self.lease
    }

    /// The budget of one change, for all its attempts together.
    pub fn retry_budget(&self) -> RetryBudget {
        RetryBudget { deadline: Instant::now() + self.wait, attempts: MAX_ATTEMPTS }
    }

    /// Acquires the locks of those SKUs that take their tokens from Redlock. SKUs of another source, and SKUs that
    /// were never claimed, are guarded by the fence alone.
    ///
    /// # Errors
    /// `LockTimeout`, `LockQuorumUnavailable`, `PostgresUnavailable`.
    pub async fn acquire(
        &self,
        db: &StockDb,
        skus: &BTreeSet<Sku>,
        budget: &RetryBudget,
    ) -> Result<StockGuard, StockError> {
        let Some(redlock) = &self.redlock else { return Ok(StockGuard::without_locks()) };
        let locked = db.redlock_skus(skus).await?;
        if locked.is_empty() {
            return Ok(StockGuard::without_locks());
        }
        let resources = locked.iter().map(resource).collect::<Result<Vec<_>, _>>()?;
        let wait = budget.deadline.saturating_duration_since(Instant::now());
        match redlock.try_lock_all(&resources, Wait::up_to(wait), self.lease).await {
            Ok(Some(grants)) => StockGuard::new(grants, locked),
            Ok(None) => Err(StockError::LockTimeout { waited: self.wait }),
            // The highest token was claimed already: incrementing the fence is all that is left.
            Err(LockError::TokensExhausted { .. }) => Ok(StockGuard::without_locks()),
            Err(error) => Err(from_lock_error(error)),
        }
    }

    /// Those of the SKUs whose lock somebody holds at this moment. Waits for nobody.
    ///
    /// # Errors
    /// `LockQuorumUnavailable`, `PostgresUnavailable`.
    pub async fn taken(&self, db: &StockDb, skus: &BTreeSet<Sku>) -> Result<BTreeSet<Sku>, StockError> {
        let mut taken = BTreeSet::new();
        let Some(redlock) = &self.redlock else { return Ok(taken) };
        for sku in db.redlock_skus(skus).await? {
            match redlock.try_lock(&resource(&sku)?, Wait::none(), self.lease).await {
                Ok(Some(grant)) => drop(grant.release().await),
                Ok(None) => drop(taken.insert(sku)),
                Err(LockError::TokensExhausted { .. }) => {}
                Err(error) => return Err(from_lock_error(error)),
            }
        }
        Ok(taken)
    }

    /// Ends an attempt: `Some` if the change was made, `None` if another attempt with a newer token may succeed.
    ///
    /// # Errors
    /// The error of the attempt, where another one cannot help or the budget is spent; `LockQuorumUnavailable`.
    pub async fn finish<T>(
        &self,
        attempt: Result<T, StockError>,
        budget: &mut RetryBudget,
    ) -> Result<Option<T>, StockError> {
        let error = match attempt {
            Ok(changed) => return Ok(Some(changed)),
            Err(error) => error,
        };
        budget.attempts = budget.attempts.saturating_sub(1);
        if budget.attempts == 0 || budget.deadline <= Instant::now() {
            return Err(error);
        }
        match (&error, &self.redlock) {
            (StockError::StaleToken { sku, current, .. }, Some(redlock)) => {
                let floor = u64::try_from(*current).ok().and_then(|current| Token::new(current).ok());
                let Some(floor) = floor else { return Err(error) };
                redlock.raise_floor(&resource(sku)?, floor).await.map_err(from_lock_error)?;
                Ok(None)
            }
            // A mismatch: the SKU's first claim came between the read of its source and the write.
            (StockError::TokenSourceMismatch { .. } | StockError::LeaseLapsed, _) => Ok(None),
            _ => Err(error),
        }
    }
}

impl StockGuard {
    fn without_locks() -> Self {
        Self { grants: None, tokens: BTreeMap::new() }
    }

    fn new(grants: Grants, locked: Vec<Sku>) -> Result<Self, StockError> {
        let mut tokens = BTreeMap::new();
        for sku in locked {
            let token = grants.token_of(&resource(&sku)?).and_then(|token| i64::try_from(token.get()).ok());
            tokens.extend(token.map(|token| (sku, token)));
        }
        Ok(Self { grants: Some(grants), tokens })
    }

    /// The token of each locked SKU; SKUs that the fence alone guards have none.
    pub fn tokens(&self) -> &BTreeMap<Sku, i64> {
        &self.tokens
    }

    /// Checks the lease right before the write. This narrows the window in which a write can come too late; the
    /// token closes it.
    ///
    /// # Errors
    /// `LeaseLapsed`.
    pub fn ensure_valid(&self) -> Result<(), StockError> {
        match &self.grants {
            Some(grants) if grants.valid_until() <= Instant::now() => Err(StockError::LeaseLapsed),
            Some(_) | None => Ok(()),
        }
    }

    /// Releases the locks; where a node does not answer, the lease ends them.
    pub async fn release(self) {
        let Some(grants) = self.grants else { return };
        if let Err(error) = grants.release().await {
            tracing::debug!(%error, "locks not released on every node; they end with their lease");
        }
    }
}

fn resource(sku: &Sku) -> Result<Resource, StockError> {
    Resource::new(format!("sku:{sku}")).map_err(|_| StockError::Defect("this SKU is not a valid lock resource"))
}

fn from_lock_error(error: LockError) -> StockError {
    match error {
        LockError::QuorumUnavailable { .. } | LockError::Unavailable { .. } => StockError::LockQuorumUnavailable(error),
        LockError::Lapsed { .. } | LockError::Lost { .. } => StockError::LeaseLapsed,
        LockError::TooManyWaiters { .. } | LockError::Closed => StockError::Overloaded,
        LockError::ResourceCount { .. }
        | LockError::NoTokens { .. }
        | LockError::FloorOutOfReach { .. }
        | LockError::TokensExhausted { .. } => StockError::UnexpectedLockError(error),
    }
}
