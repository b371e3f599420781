//! The locks that the configuration names, and the servers of each. The only place that knows which of them this program
//! was built with.
//!
//! Invariant: a server that is configured and that this program cannot use ends the start of the service.

use std::{collections::HashMap, time::Duration};

use anyhow::Context as _;
use contract::LockKind;
use fenced_lock::{AdvisoryDatabase, ClientName, Locks, NodeTimeout, Nodes, Options};
use service_kit::start::Setting;

use crate::config::Config;

/// The lock of each kind whose server is configured. Connects to nothing yet.
///
/// # Errors
/// An address that is none, or a server whose client is not part of this program.
pub fn configured(config: &Config) -> anyhow::Result<HashMap<LockKind, Locks>> {
    let owner = ClientName::new(format!("order-{}", std::process::id()))?;
    let options = Options::default().with_client_name(owner);
    // A server that flushes every grant to disk may take a while, but never the whole lease.
    let node_timeout = (config.lease() / 4).clamp(Duration::from_millis(1), Duration::from_secs(1));
    let slow = options.clone().with_node_timeout(NodeTimeout::new(node_timeout)?);
    let nodes = Nodes::parse(&config.lock_nodes).context(Setting("ORDER_LOCK_NODES"))?;
    let first = nodes.iter().next().cloned().context(Setting("ORDER_LOCK_NODES"))?;
    let mut locks = HashMap::from([
        (LockKind::None, Locks::off()),
        (LockKind::OneRedis, Locks::redis(first, options.clone())),
        (LockKind::Redlock, Locks::redlock(nodes, options)),
    ]);
    if let Some(endpoints) = &config.etcd_endpoints {
        locks.insert(LockKind::Etcd, etcd(endpoints, slow.clone()).context(Setting("ORDER_ETCD_ENDPOINTS"))?);
    }
    if let Some(ensemble) = &config.zookeeper {
        locks.insert(LockKind::Zookeeper, zookeeper(ensemble, slow.clone()).context(Setting("ORDER_ZOOKEEPER"))?);
    }
    if let Some(url) = &config.advisory_url {
        let database = AdvisoryDatabase::parse(url).context(Setting("ORDER_ADVISORY_URL"))?;
        locks.insert(LockKind::Advisory, Locks::postgres_advisory(database, slow));
    }
    Ok(locks)
}

#[cfg(feature = "etcd")]
fn etcd(endpoints: &str, options: Options) -> anyhow::Result<Locks> {
    Ok(Locks::etcd(fenced_lock::EtcdEndpoints::parse(endpoints)?, options))
}

#[cfg(not(feature = "etcd"))]
fn etcd(_: &str, _: Options) -> anyhow::Result<Locks> {
    anyhow::bail!("this program was built without the feature `etcd`; build it with `cargo build --release -p order`")
}

#[cfg(feature = "zookeeper")]
fn zookeeper(ensemble: &str, options: Options) -> anyhow::Result<Locks> {
    Ok(Locks::zookeeper(fenced_lock::ZookeeperEnsemble::parse(ensemble)?, options))
}

#[cfg(not(feature = "zookeeper"))]
fn zookeeper(_: &str, _: Options) -> anyhow::Result<Locks> {
    anyhow::bail!(
        "this program was built without the feature `zookeeper`; build it with `cargo build --release -p order`"
    )
}
