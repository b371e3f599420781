//! The locks that inventory takes itself: before it gives units back or sets what there is. An order that holds
//! one never calls these; it would wait for itself.
//! Invariant: no database connection is held while a lock is waited for.
//! Absence: nothing here changes stock; the token goes into the write, and Postgres decides.

use std::time::Duration;

use fenced_lock::{Grants, Lease, LockError, Locks, Resource, Token, Wait};
use tokio::time::Instant;

use crate::{domain::error::StockError, store::StockDb};

/// Stale tokens are told the current one, and raise it; more often than this it is somebody's doing.
const MAX_ATTEMPTS: usize = 4;

/// Redlock, where there are nodes. Cheap to clone.
#[derive(Debug, Clone)]
pub struct StockLocks {
    redlock: Option<Locks>,
    lease: Lease,
    wait: Duration,
}

/// SKUs that are ours for a while, with a token for each that is bound to these locks.
#[derive(Debug)]
pub struct StockGuard {
    grants: Option<Grants>,
    tokens: Vec<(String, i64)>,
}

/// How long one change may go on trying.
#[derive(Debug)]
pub struct RetryBudget {
    deadline: Instant,
    tries: usize,
}

impl StockLocks {
    /// Connects to nothing yet. Without nodes the database alone decides, which it may: a change without a
    /// token moves the fence instead.
    pub fn new(redlock: Option<Locks>, lease: Lease, wait: Duration) -> Self {
        Self { redlock, lease, wait }
    }

    /// The locks themselves, for electing who sweeps.
    pub fn redlock(&self) -> Option<&Locks> {
        self.redlock.as_ref()
    }

    /// How long a lock may be kept.
    pub fn lease(&self) -> Lease {
        self.lease
    }

    /// For one change, all its tries together.
    pub fn budget(&self) -> RetryBudget {
        RetryBudget { deadline: Instant::now() + self.wait, tries: MAX_ATTEMPTS }
    }

    /// Takes the locks of those SKUs whose tokens come from them. Those of another source, and those that
    /// nobody has claimed yet, are left to the fence.
    ///
    /// # Errors
    /// `LockTimeout`, `LockQuorumUnavailable`, or Postgres was away.
    pub async fn acquire(&self, db: &StockDb, skus: &[String], budget: &RetryBudget) -> Result<StockGuard, StockError> {
        let Some(redlock) = &self.redlock else { return Ok(StockGuard::nothing()) };
        let bound = db.redlock_skus(skus).await?;
        if bound.is_empty() {
            return Ok(StockGuard::nothing());
        }
        let resources = bound.iter().map(|sku| resource(sku)).collect::<Result<Vec<_>, _>>()?;
        let wait = budget.deadline.saturating_duration_since(Instant::now());
        match redlock.try_lock_all(&resources, Wait::up_to(wait), self.lease).await {
            Ok(Some(grants)) => Ok(StockGuard { tokens: tokens(&grants, bound, &resources), grants: Some(grants) }),
            Ok(None) => Err(StockError::LockTimeout { waited: self.wait }),
            // Somebody claimed with the highest there is; moving the fence is all that is left.
            Err(LockError::TokensExhausted { .. }) => Ok(StockGuard::nothing()),
            Err(error) => Err(from_lock_error(error)),
        }
    }

    /// What a refused change means: `None` if another try, with a newer token, may do better.
    ///
    /// # Errors
    /// What it was refused with; or the nodes were away.
    pub async fn finish<T>(
        &self,
        changed: Result<T, StockError>,
        budget: &mut RetryBudget,
    ) -> Result<Option<T>, StockError> {
        let refused = match changed {
            Ok(done) => return Ok(Some(done)),
            Err(refused) => refused,
        };
        budget.tries = budget.tries.saturating_sub(1);
        if budget.tries == 0 || budget.deadline <= Instant::now() {
            return Err(refused);
        }
        match (&refused, &self.redlock) {
            (StockError::StaleToken { sku, current, .. }, Some(redlock)) => {
                let floor = u64::try_from(*current).ok().and_then(|current| Token::new(current).ok());
                let Some(floor) = floor else { return Err(refused) };
                redlock.raise_floor(&resource(sku)?, floor).await.map_err(from_lock_error)?;
                Ok(None)
            }
            // The first claim came between our look at the source and our write.
            (StockError::TokenSourceMismatch { .. } | StockError::LeaseLapsed, _) => Ok(None),
            _ => Err(refused),
        }
    }
}

impl StockGuard {
    fn nothing() -> Self {
        Self { grants: None, tokens: Vec::new() }
    }

    /// By SKU; none for those that the fence alone guards.
    pub fn tokens(&self) -> &[(String, i64)] {
        &self.tokens
    }

    /// Good manners right before the write: they narrow the window, and the token closes it.
    ///
    /// # Errors
    /// The lease is over.
    pub fn ensure_valid(&self) -> Result<(), StockError> {
        match &self.grants {
            Some(grants) if grants.valid_until() <= Instant::now() => Err(StockError::LeaseLapsed),
            Some(_) | None => Ok(()),
        }
    }

    /// Gives the locks back; where that cannot be told, the lease ends them.
    pub async fn release(self) {
        let Some(grants) = self.grants else { return };
        if let Err(error) = grants.release().await {
            tracing::debug!(%error, "a lock was not released everywhere; its lease will end it");
        }
    }
}

fn tokens(grants: &Grants, bound: Vec<String>, resources: &[Resource]) -> Vec<(String, i64)> {
    let token = |resource| grants.token_of(resource).and_then(|token| i64::try_from(token.get()).ok());
    bound.into_iter().zip(resources).filter_map(|(sku, resource)| Some((sku, token(resource)?))).collect()
}

fn resource(sku: &str) -> Result<Resource, StockError> {
    Resource::new(format!("sku:{sku}")).map_err(|_| StockError::Defect("a SKU that cannot be locked"))
}

fn from_lock_error(error: LockError) -> StockError {
    match error {
        LockError::QuorumUnavailable { .. } | LockError::Unavailable { .. } => StockError::LockQuorumUnavailable(error),
        LockError::Lapsed { .. } | LockError::Lost { .. } => StockError::LeaseLapsed,
        LockError::TooManyWaiters { .. } => StockError::Overloaded,
        LockError::ResourceCount { .. }
        | LockError::NoTokens { .. }
        | LockError::FloorOutOfReach { .. }
        | LockError::TokensExhausted { .. } => StockError::UnexpectedLockError(error),
    }
}
