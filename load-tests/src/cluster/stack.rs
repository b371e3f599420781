//! The whole system as child processes: Postgres, independent Redis nodes, replicas of both services with the lab on;
//! etcd and ZooKeeper where a strategy needs them, proxies between the parts where a fault does.
//!
//! Invariant: it ends with this value, and with this process, however that ends; nothing listens beyond 127.0.0.1.
//! Absence: no containers; `docker compose up` runs the system in containers.

use std::path::Path;
use std::sync::Arc;

use anyhow::Context as _;
use futures_util::future::{join_all, try_join_all};
use sqlx::PgConnection;
use testbed::Folder;

use super::config::{LAB_TOKEN, StackConfig};
use super::launch::{Launch, Programs};
use super::process::{ReplicaProcess, ReplicaProcesses};
use super::replica::Replica;
use super::servers::Servers;
use super::target::{Databases, Target, on_connection};

/// The role of the auditor: it can read everything and change nothing.
const AUDITOR: [&str; 3] = [
    "create role auditor login",
    "grant pg_read_all_data, pg_monitor to auditor",
    "alter role auditor set default_transaction_read_only = on",
];

/// A running stack. Dropping it ends it.
#[derive(Debug)]
pub struct Stack {
    /// Its addresses for clients: through the proxies, if there are any.
    pub target: Target,
    /// The databases without proxies, as a role that can only read.
    pub audit: Databases,
    // Fields are dropped in this order: services before the servers that they use.
    orders: Vec<Arc<Replica>>,
    inventory: Vec<Arc<Replica>>,
    /// Its servers.
    pub servers: Servers,
    _logs: Option<Folder>,
}

impl Stack {
    /// Starts it. `binaries` is the folder of the services' programs, `logs` the folder of their logs: a temporary one
    /// if absent.
    ///
    /// # Errors
    /// A server or a service is not installed or does not start; the error chain ends with its log.
    ///
    /// # Cancel safety: processes already started are ended.
    pub async fn start(config: &StackConfig, binaries: &Path, logs: Option<&Path>) -> anyhow::Result<Self> {
        let programs = Programs::in_folder(binaries)?;
        let folder = if logs.is_none() { Some(Folder::new("logs")?) } else { None };
        let logs = logs.map(Path::to_path_buf).or_else(|| folder.as_ref().map(|f| f.path().to_path_buf()));
        let logs = logs.unwrap_or_default();

        let mut servers = Servers::start(config).await?;
        let postgres = servers.postgres.get_mut();
        let databases = Databases {
            inventory: postgres.create_database("inventory").await?,
            order: postgres.create_database("orders").await?,
        };
        if config.proxied {
            servers.start_proxies(config.replicas).await?;
        }
        let nodes = servers.redis_urls();
        let launch = Launch { config, programs: &programs, logs: &logs, databases: &databases, servers: &servers };
        let inventory = try_join_all((0..config.replicas).map(|n| launch.inventory(n, &nodes))).await?;
        let inventory_urls: Vec<_> = inventory.iter().map(|service| service.url().to_owned()).collect();
        let inventory_of_orders = match &mut servers.proxies {
            Some(proxies) => proxies.start_before_inventory(&inventory_urls).await?,
            None => inventory_urls.clone(),
        };
        let launch = Launch { config, programs: &programs, logs: &logs, databases: &databases, servers: &servers };
        let orders = try_join_all((0..config.replicas).map(|n| launch.order(n, &inventory_of_orders, &nodes))).await?;
        let mut order_urls: Vec<_> = orders.iter().map(|service| service.url().to_owned()).collect();
        if let Some(proxies) = &mut servers.proxies {
            order_urls = proxies.start_before_orders(&order_urls).await?;
        }
        let audit = create_auditor(&databases).await?;

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

    /// Its replicas, to pause, resume and kill.
    pub fn replica_processes(&self) -> ReplicaProcesses {
        let of = |services: &[Arc<Replica>]| services.iter().map(ReplicaProcess::child).collect();
        ReplicaProcesses { orders: of(&self.orders), inventory: of(&self.inventory) }
    }

    /// Ends the services by SIGTERM, then the servers.
    pub async fn shut_down(self) {
        for services in [&self.orders, &self.inventory] {
            join_all(services.iter().map(|service| service.end())).await;
        }
    }
}

/// Creates the role of the auditor; returns the databases as it reads them.
async fn create_auditor(databases: &Databases) -> anyhow::Result<Databases> {
    let create = async |connection: &mut PgConnection| {
        for statement in AUDITOR {
            sqlx::query(statement).execute(&mut *connection).await?;
        }
        Ok(())
    };
    on_connection(&databases.inventory, create).await.context("the role `auditor` could not be created")?;
    let as_auditor = |url: &str| -> anyhow::Result<String> {
        let mut url = url::Url::parse(url)?;
        let _ = url.set_username("auditor");
        Ok(url.into())
    };
    Ok(Databases { inventory: as_auditor(&databases.inventory)?, order: as_auditor(&databases.order)? })
}
