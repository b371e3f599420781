//! What a stack consists of. No I/O.

use std::time::Duration;

/// The bearer token of inventory in a stack. For the lab only: the services refuse it where the lab is off.
pub const LAB_TOKEN: &str = "lab-only-token";

/// What a stack consists of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StackConfig {
    /// The number of lock nodes, odd.
    pub redis_nodes: usize,
    /// The number of replicas of each service, 2 or more.
    pub replicas: usize,
    /// The length of a lease.
    pub lease: Duration,
    /// How long an order waits for its lock.
    pub wait: Duration,
    /// How long a payment takes.
    pub payment: Duration,
    /// Proxies stand between the parts, so that connections can be broken.
    pub proxied: bool,
    /// A strategy locks with etcd.
    pub etcd: bool,
    /// A strategy locks with ZooKeeper.
    pub zookeeper: bool,
}

impl StackConfig {
    /// A little longer than any order may take whose payment takes no longer than the wait and the lease: an attempt
    /// without an answer by then counts as silence.
    pub fn answer_limit(&self) -> Duration {
        2 * (self.wait + self.lease) + Duration::from_secs(5)
    }
}
