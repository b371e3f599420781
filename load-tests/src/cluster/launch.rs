//! Starts the services of a stack: which program, with which settings, through which proxies.
//!
//! Absence: no server is started here.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::bail;
use testbed::ProcessSpec;

use super::config::{LAB_TOKEN, StackConfig};
use super::proxies::through;
use super::replica::Replica;
use super::servers::Servers;
use super::target::Databases;

/// The programs of the services.
pub(super) struct Programs {
    inventory: PathBuf,
    order: PathBuf,
}

impl Programs {
    /// Those in this folder.
    pub(super) fn in_folder(folder: &Path) -> anyhow::Result<Self> {
        let find = |name: &str| {
            let path = folder.join(name);
            if !path.is_file() {
                bail!("no program `{name}` in {}; build it: cargo build -p {name}", folder.display());
            }
            Ok(path)
        };
        Ok(Self { inventory: find("inventory")?, order: find("order")? })
    }
}

/// What every service of a stack is started with.
pub(super) struct Launch<'a> {
    pub(super) config: &'a StackConfig,
    pub(super) programs: &'a Programs,
    /// The folder of the services' logs.
    pub(super) logs: &'a Path,
    pub(super) databases: &'a Databases,
    pub(super) servers: &'a Servers,
}

impl Launch<'_> {
    /// Replica `n` of inventory, from 0; `nodes` are the URLs of the lock nodes.
    pub(super) async fn inventory(&self, n: usize, nodes: &[String]) -> anyhow::Result<Arc<Replica>> {
        let proxy = self.servers.proxies.as_ref().map(|proxies| &proxies.inventory_postgres[n]);
        let envs = vec![
            ("INVENTORY_DATABASE_URL", through(proxy, &self.databases.inventory)?),
            ("INVENTORY_TOKEN", LAB_TOKEN.to_owned()),
            ("INVENTORY_LOCK_NODES", nodes.join(",")),
            ("INVENTORY_LOCK_LEASE_MS", millis(self.config.lease)),
            ("INVENTORY_LOCK_WAIT_MS", millis(self.config.wait)),
        ];
        self.service(format!("inventory-{}", n + 1), &self.programs.inventory, "INVENTORY_LISTEN", envs).await
    }

    /// Replica `n` of order, from 0; `inventory` are the URLs of inventory's replicas, `nodes` those of the lock nodes.
    pub(super) async fn order(&self, n: usize, inventory: &[String], nodes: &[String]) -> anyhow::Result<Arc<Replica>> {
        let proxy = self.servers.proxies.as_ref().map(|proxies| &proxies.order_postgres[n]);
        let mut envs = vec![
            ("ORDER_DATABASE_URL", through(proxy, &self.databases.order)?),
            ("ORDER_INVENTORY_URLS", inventory.join(",")),
            ("ORDER_INVENTORY_TOKEN", LAB_TOKEN.to_owned()),
            ("ORDER_LOCK_NODES", nodes.join(",")),
            ("ORDER_LOCK_LEASE_MS", millis(self.config.lease)),
            ("ORDER_LOCK_WAIT_MS", millis(self.config.wait)),
            ("ORDER_PAYMENT_MS", millis(self.config.payment)),
        ];
        envs.extend(self.servers.etcd.as_ref().map(|etcd| ("ORDER_ETCD_ENDPOINTS", etcd.url())));
        envs.extend(self.servers.zookeeper.as_ref().map(|zookeeper| ("ORDER_ZOOKEEPER", zookeeper.url())));
        // The sessions of advisory locks do not pass the proxy: a partition of the orders' database leaves them alone.
        envs.push(("ORDER_ADVISORY_URL", self.databases.order.clone()));
        self.service(format!("order-{}", n + 1), &self.programs.order, "ORDER_LISTEN", envs).await
    }

    async fn service(
        &self,
        name: String,
        program: &Path,
        listen: &str,
        envs: Vec<(&str, String)>,
    ) -> anyhow::Result<Arc<Replica>> {
        let mut envs: Vec<_> = envs.into_iter().map(|(key, value)| (key.to_owned(), value)).collect();
        // A log filter in the environment of this process is not meant for the services.
        envs.push(("RUST_LOG".to_owned(), "warn".to_owned()));
        let spec = ProcessSpec {
            log: self.logs.join(format!("{name}.log")),
            program: program.to_path_buf(),
            args: vec![OsString::from("--lab")],
            envs,
            name,
        };
        Ok(Arc::new(Replica::start(spec, listen).await?))
    }
}

fn millis(duration: Duration) -> String {
    duration.as_millis().to_string()
}
