//! The whole system as child processes: Postgres, independent Redis nodes, replicas of both services, lab on; etcd and
//! ZooKeeper where a strategy needs them, proxies between the parts where a fault does.
//!
//! Invariant: it ends with this value, and with this process, however that ends; nothing listens beyond 127.0.0.1.
//! Absence: no containers; `docker compose up` is that way of running it.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use futures_util::future::{join_all, try_join_all};
use sqlx::{Connection as _, PgConnection};
use testbed::{Etcd, Folder, Mode, Postgres, PostgresOptions, RedisNode, Zookeeper};
use tokio::sync::Mutex;

use super::launch::{Launch, Programs};
pub use super::proxies::Proxies;
use crate::cluster::process::{ReplicaProcess, ReplicaProcesses};
use crate::cluster::replica::Replica;
use crate::cluster::target::{Databases, Target};

/// Good for the lab only; the services refuse it elsewhere.
pub const LAB_TOKEN: &str = "lab-only-token";

/// The auditor may look at everything and change nothing.
const AUDITOR: [&str; 3] = [
    "create role auditor login",
    "grant pg_read_all_data, pg_monitor to auditor",
    "alter role auditor set default_transaction_read_only = on",
];

/// What a stack is made of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StackConfig {
    /// How many lock nodes, an odd number.
    pub redis_nodes: usize,
    /// How many replicas of each service, two or more.
    pub replicas: usize,
    /// How long a lock lives.
    pub lease: Duration,
    /// How long an order waits for its lock.
    pub wait: Duration,
    /// How long the payment takes.
    pub payment: Duration,
    /// Whether proxies stand between the parts, so that their connections can be broken.
    pub proxied: bool,
    /// Whether some strategy locks with etcd.
    pub etcd: bool,
    /// Whether some strategy locks with ZooKeeper.
    pub zookeeper: bool,
}

/// The servers of a stack, for whoever breaks them. One at a time.
#[derive(Debug)]
pub struct Servers {
    /// The lock nodes, the one of strategy `redis` first.
    pub redis: Vec<Mutex<RedisNode>>,
    /// Both databases.
    pub postgres: Mutex<Postgres>,
    /// Where connections can be broken, if proxies were asked for.
    pub proxies: Option<Proxies>,
    pub(super) etcd: Option<Etcd>,
    pub(super) zookeeper: Option<Zookeeper>,
}

/// A running stack. Dropping it ends it.
#[derive(Debug)]
pub struct Stack {
    /// Its addresses, as they are for clients: through the proxies, if there are any.
    pub target: Target,
    /// As `target.postgres`, logged in as somebody who can only read.
    pub audit: Databases,
    /// Its servers. Dropped after the services.
    pub servers: Servers,
    orders: Vec<Arc<Replica>>,
    inventory: Vec<Arc<Replica>>,
    _logs: Option<Folder>,
}

impl Stack {
    /// Brings it up; `logs` is where the services log, a throw-away folder if absent.
    ///
    /// # Errors
    /// A server or a service is missing or does not come up; the chain ends with its log.
    ///
    /// # Cancel safety: what was started is ended.
    pub async fn start(stack_config: &StackConfig, binaries: &Path, logs: Option<&Path>) -> anyhow::Result<Self> {
        let programs = Programs::beside(binaries)?;
        let folder = if logs.is_none() { Some(Folder::new("logs")?) } else { None };
        let logs = logs.map(Path::to_path_buf).or_else(|| folder.as_ref().map(|f| f.path().to_path_buf()));
        let logs = logs.unwrap_or_default();

        let mut servers = Servers::start(stack_config).await?;
        let postgres = servers.postgres.get_mut();
        let databases = Databases {
            inventory: postgres.create_database("inventory").await?,
            order: postgres.create_database("orders").await?,
        };
        if stack_config.proxied {
            servers.proxies = Some(Proxies::start(&mut servers, stack_config.replicas).await?);
        }
        let nodes = servers.redis_urls();
        let launch =
            Launch { stack_config, programs: &programs, logs: &logs, databases: &databases, servers: &servers };
        let inventory = try_join_all((0..stack_config.replicas).map(|n| launch.inventory(n, &nodes))).await?;
        let inventory_urls: Vec<_> = inventory.iter().map(|service| service.url().to_owned()).collect();
        let orders = try_join_all((0..stack_config.replicas).map(|n| launch.order(n, &inventory_urls, &nodes))).await?;
        let mut order_urls: Vec<_> = orders.iter().map(|service| service.url().to_owned()).collect();
        if let Some(proxies) = &mut servers.proxies {
            order_urls = proxies.before_orders(&order_urls).await?;
        }
        let audit = admit_auditor(&databases).await?;

        let mut pids: Vec<_> =
            orders.iter().chain(&inventory).map(|s| (s.name().to_owned(), s.process().pid())).collect();
        pids.extend(servers.pids());
        let target = Target {
            orders: order_urls,
            inventory: inventory_urls,
            redis: nodes,
            postgres: databases,
            inventory_token: LAB_TOKEN.to_owned(),
            pids: pids.into_iter().collect(),
        };
        Ok(Self { target, audit, orders, inventory, servers, _logs: folder })
    }

    /// For stopping, continuing and killing its replicas.
    pub fn controls(&self) -> ReplicaProcesses {
        let of = |services: &[Arc<Replica>]| services.iter().map(ReplicaProcess::child).collect();
        ReplicaProcesses { orders: of(&self.orders), inventory: of(&self.inventory) }
    }

    /// Ends the services in good order, then the servers.
    pub async fn shut_down(self) {
        for services in [&self.orders, &self.inventory] {
            join_all(services.iter().map(|service| service.end())).await;
        }
    }
}

impl Servers {
    async fn start(stack_config: &StackConfig) -> anyhow::Result<Self> {
        let nodes = try_join_all((0..stack_config.redis_nodes).map(|_| RedisNode::start_in(Mode::Native)));
        let postgres = Postgres::start_in(Mode::Native, PostgresOptions::default());
        let etcd = async { if stack_config.etcd { Etcd::start_in(Mode::Native).await.map(Some) } else { Ok(None) } };
        let zookeeper =
            async { if stack_config.zookeeper { Zookeeper::start_in(Mode::Native).await.map(Some) } else { Ok(None) } };
        let (redis, postgres, etcd, zookeeper) = tokio::try_join!(nodes, postgres, etcd, zookeeper)?;
        let redis = redis.into_iter().map(Mutex::new).collect();
        Ok(Self { redis, postgres: Mutex::new(postgres), proxies: None, etcd, zookeeper })
    }

    /// The majority of the lock nodes.
    pub fn quorum(&self) -> usize {
        self.redis.len() / 2 + 1
    }

    fn redis_urls(&mut self) -> Vec<String> {
        match &self.proxies {
            Some(proxies) => proxies.redis_urls(),
            None => self.redis.iter_mut().map(|node| node.get_mut().url()).collect(),
        }
    }

    fn pids(&mut self) -> Vec<(String, u32)> {
        let mut pids: Vec<_> = (1..)
            .zip(&mut self.redis)
            .filter_map(|(n, node)| Some((format!("redis-{n}"), node.get_mut().pid()?)))
            .collect();
        pids.extend(self.postgres.get_mut().pid().map(|pid| ("postgres".to_owned(), pid)));
        pids.extend(self.etcd.as_ref().and_then(Etcd::pid).map(|pid| ("etcd".to_owned(), pid)));
        pids.extend(self.zookeeper.as_ref().and_then(Zookeeper::pid).map(|pid| ("zookeeper".to_owned(), pid)));
        pids
    }
}

async fn admit_auditor(databases: &Databases) -> anyhow::Result<Databases> {
    let mut connection = PgConnection::connect(&databases.inventory).await?;
    for statement in AUDITOR {
        sqlx::query(statement).execute(&mut connection).await.context("the auditor's role could not be made")?;
    }
    connection.close().await?;
    let as_auditor = |url: &str| -> anyhow::Result<String> {
        let mut url = url::Url::parse(url)?;
        let _ = url.set_username("auditor");
        Ok(url.into())
    };
    Ok(Databases { inventory: as_auditor(&databases.inventory)?, order: as_auditor(&databases.order)? })
}
