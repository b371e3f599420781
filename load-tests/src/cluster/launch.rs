//! Starting the services of a stack: which program, with which settings, behind which proxies.
//!
//! Absence: no server is started here.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::bail;
use testbed::ProcessSpec;

use super::stack::{LAB_TOKEN, Servers, StackConfig};
use crate::cluster::replica::Replica;
use crate::cluster::target::Databases;

pub(super) struct Programs {
    inventory: PathBuf,
    order: PathBuf,
}

impl Programs {
    pub(super) fn beside(folder: &Path) -> anyhow::Result<Self> {
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

pub(super) struct Launch<'a> {
    pub(super) stack_config: &'a StackConfig,
    pub(super) programs: &'a Programs,
    pub(super) logs: &'a Path,
    pub(super) databases: &'a Databases,
    pub(super) servers: &'a Servers,
}

impl Launch<'_> {
    pub(super) async fn inventory(&self, n: usize, nodes: &[String]) -> anyhow::Result<Arc<Replica>> {
        let ms = |duration: Duration| duration.as_millis().to_string();
        let route = self.servers.proxies.as_ref().map(|proxies| &proxies.inventory_postgres[n]);
        let envs = vec![
            ("INVENTORY_DATABASE_URL", super::proxies::through(route, &self.databases.inventory)?),
            ("INVENTORY_TOKEN", LAB_TOKEN.to_owned()),
            ("INVENTORY_LOCK_NODES", nodes.join(",")),
            ("INVENTORY_LOCK_LEASE_MS", ms(self.stack_config.lease)),
            ("INVENTORY_LOCK_WAIT_MS", ms(self.stack_config.wait)),
        ];
        self.service(format!("inventory-{}", n + 1), &self.programs.inventory, "INVENTORY_LISTEN", envs).await
    }

    pub(super) async fn order(&self, n: usize, inventory: &[String], nodes: &[String]) -> anyhow::Result<Arc<Replica>> {
        let ms = |duration: Duration| duration.as_millis().to_string();
        let route = self.servers.proxies.as_ref().map(|proxies| &proxies.order_postgres[n]);
        let mut envs = vec![
            ("ORDER_DATABASE_URL", super::proxies::through(route, &self.databases.order)?),
            ("ORDER_INVENTORY_URLS", inventory.join(",")),
            ("ORDER_INVENTORY_TOKEN", LAB_TOKEN.to_owned()),
            ("ORDER_LOCK_NODES", nodes.join(",")),
            ("ORDER_LOCK_LEASE_MS", ms(self.stack_config.lease)),
            ("ORDER_LOCK_WAIT_MS", ms(self.stack_config.wait)),
            ("ORDER_PAYMENT_MS", ms(self.stack_config.payment)),
        ];
        envs.extend(self.servers.etcd.as_ref().map(|etcd| ("ORDER_ETCD_ENDPOINTS", etcd.url())));
        envs.extend(self.servers.zookeeper.as_ref().map(|zookeeper| ("ORDER_ZOOKEEPER", zookeeper.url())));
        // The sessions of its locks are no business of the orders' snapshot, and no proxy stands before them.
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
        // What the harness's own environment says about logs is not meant for the services.
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
