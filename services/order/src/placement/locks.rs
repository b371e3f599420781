//! The locks this service can take, one for each kind a strategy may ask for,
//! and the names of what it locks. No strategy is chosen here.

use fenced_lock::{AdvisoryDatabase, EtcdEndpoints, Locks, NodeTimeout, Nodes, Options, Resource, ZookeeperEnsemble};

use crate::domain::error::OrderError;
use crate::domain::order::{OrderLine, Sku};
use crate::strategy::{LockKind, Strategy};

/// One lock for each kind that was configured. Cheap to clone.
#[derive(Debug, Clone)]
pub struct LockSet {
    none: Locks,
    one_redis: Locks,
    redlock: Locks,
    etcd: Option<Locks>,
    zookeeper: Option<Locks>,
    advisory: Option<Locks>,
}

/// Where the locks are.
#[derive(Debug, Clone)]
pub struct Addresses {
    /// Independent Redis nodes.
    pub nodes: Nodes,
    /// An etcd cluster, if there is one.
    pub etcd: Option<EtcdEndpoints>,
    /// A ZooKeeper ensemble, if there is one.
    pub zookeeper: Option<ZookeeperEnsemble>,
    /// A Postgres database for advisory locks, if there is one.
    pub advisory: Option<AdvisoryDatabase>,
}

impl LockSet {
    /// Connects to nothing yet; a node that is down is found out when it is needed.
    /// `slow` is for servers that flush every grant to disk.
    ///
    /// # Errors
    /// There is no node at all.
    pub fn new(at: Addresses, options: &Options, slow: NodeTimeout) -> Result<Self, OrderError> {
        let Addresses { nodes, etcd, zookeeper, advisory } = at;
        let first = nodes.iter().next().cloned().ok_or(OrderError::Defect("lock nodes without a node"))?;
        let patient = || options.clone().with_node_timeout(slow);
        Ok(Self {
            none: Locks::off(),
            one_redis: Locks::redis(first, options.clone()),
            redlock: Locks::redlock(nodes, options.clone()),
            etcd: etcd.map(|endpoints| Locks::etcd(endpoints, patient())),
            zookeeper: zookeeper.map(|ensemble| Locks::zookeeper(ensemble, patient())),
            advisory: advisory.map(|database| Locks::postgres_advisory(database, patient())),
        })
    }

    /// The lock that this strategy takes.
    ///
    /// # Errors
    /// Its server was not configured.
    pub fn of(&self, strategy: Strategy) -> Result<&Locks, OrderError> {
        let configured = match strategy.lock() {
            LockKind::None => Some(&self.none),
            LockKind::OneRedis => Some(&self.one_redis),
            LockKind::Redlock => Some(&self.redlock),
            LockKind::Etcd => self.etcd.as_ref(),
            LockKind::Zookeeper => self.zookeeper.as_ref(),
            LockKind::Advisory => self.advisory.as_ref(),
        };
        configured.ok_or(OrderError::StrategyNotConfigured(strategy))
    }

    /// Would the strategy's lock be granted now?
    ///
    /// # Errors
    /// The quorum is lost, or there never was one.
    pub async fn ready(&self, strategy: Strategy) -> Result<(), OrderError> {
        self.of(strategy)?.ready().await.map_err(OrderError::LockQuorum)
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
pub fn resources(lines: &[OrderLine]) -> Result<Vec<Resource>, OrderError> {
    lines.iter().map(|line| resource(&line.sku)).collect()
}
