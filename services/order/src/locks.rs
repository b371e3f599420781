//! The locks this service can take, one for each kind a strategy may ask for,
//! and the names of what it locks. No strategy is chosen here.

use fenced_lock::{LockError, Locks, NodeUrl, Nodes, Options, Resource};

use crate::{
    order::{Line, Sku},
    order_error::OrderError,
    strategy::{LockKind, Strategy},
};

/// One lock for each kind. Cheap to clone.
#[derive(Debug, Clone)]
pub struct LockSet {
    none: Locks,
    one_redis: Locks,
    redlock: Locks,
}

impl LockSet {
    /// Connects to nothing yet; a node that is down is found out when it is needed.
    pub fn new(first: NodeUrl, nodes: Nodes, options: Options) -> Self {
        Self {
            none: Locks::off(),
            one_redis: Locks::redis(first, options.clone()),
            redlock: Locks::redlock(nodes, options),
        }
    }

    /// The lock that this strategy takes.
    pub fn of(&self, strategy: Strategy) -> &Locks {
        match strategy.lock() {
            LockKind::None => &self.none,
            LockKind::OneRedis => &self.one_redis,
            LockKind::Redlock => &self.redlock,
        }
    }

    /// Would the strategy's lock be granted now?
    ///
    /// # Errors
    /// The quorum is lost.
    pub async fn ready(&self, strategy: Strategy) -> Result<(), LockError> {
        self.of(strategy).ready().await
    }
}

/// `sku:{id}`.
///
/// # Errors
/// Never for a SKU that was parsed; a defect otherwise.
pub fn resource(sku: &Sku) -> Result<Resource, OrderError> {
    Resource::new(format!("sku:{sku}")).map_err(|_| OrderError::Defect("a SKU that cannot be locked"))
}

/// One for each line.
///
/// # Errors
/// As [`resource`].
pub fn resources(lines: &[Line]) -> Result<Vec<Resource>, OrderError> {
    lines.iter().map(|line| resource(&line.sku)).collect()
}
