//! The whole system as child processes: Postgres, independent Redis nodes, replicas of both services, lab on.
//!
//! Invariant: it ends with this value, and with this process, however that ends; nothing listens beyond 127.0.0.1.
//! Absence: no containers; `docker compose up` is that way of running it.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, bail};
use futures_util::future::try_join_all;
use sqlx::{Connection as _, PgConnection};
use testbed::{Folder, Mode, Postgres, PostgresOptions, Process, ProcessSpec, RedisNode};

use crate::control::{Control, Controls};
use crate::target::{Databases, Target};

/// Good for the lab only; the services refuse it elsewhere.
pub const LAB_TOKEN: &str = "lab-only-token";
const READY_WITHIN: Duration = Duration::from_secs(30);
const END_WITHIN: Duration = Duration::from_secs(5);

/// The auditor may look at everything and change nothing.
const AUDITOR: [&str; 3] = [
    "create role auditor login",
    "grant pg_read_all_data, pg_monitor to auditor",
    "alter role auditor set default_transaction_read_only = on",
];

/// What a stack is made of.
#[derive(Debug, Clone)]
pub struct Shape {
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
}

/// A running stack. Dropping it ends it.
#[derive(Debug)]
pub struct Stack {
    /// Its addresses.
    pub target: Target,
    /// As `target.postgres`, logged in as somebody who can only read.
    pub audit: Databases,
    /// The lock nodes.
    pub redis: Vec<RedisNode>,
    orders: Vec<Arc<Process>>,
    inventory: Vec<Arc<Process>>,
    _postgres: Postgres,
    _logs: Option<Folder>,
}

impl Stack {
    /// Brings it up; `logs` is where the services log, a throw-away folder if absent.
    ///
    /// # Errors
    /// A server or a service is missing or does not come up; the chain ends with its log.
    ///
    /// # Cancel safety: what was started is ended.
    pub async fn start(shape: &Shape, binaries: &Path, logs: Option<&Path>) -> anyhow::Result<Self> {
        let programs = Programs::beside(binaries)?;
        let folder = if logs.is_none() { Some(Folder::new("logs")?) } else { None };
        let logs = logs.map(Path::to_path_buf).or_else(|| folder.as_ref().map(|f| f.path().to_path_buf()));
        let logs = logs.unwrap_or_default();

        let nodes = try_join_all((0..shape.redis_nodes).map(|_| RedisNode::start_in(Mode::Native)));
        let postgres = Postgres::start_in(Mode::Native, PostgresOptions::default());
        let (redis, postgres) = tokio::try_join!(nodes, postgres)?;
        let databases = Databases {
            inventory: postgres.create_database("inventory").await?,
            order: postgres.create_database("orders").await?,
        };
        let launch = Launch { shape, programs: &programs, logs: &logs, databases: &databases };
        let nodes: Vec<_> = redis.iter().map(RedisNode::url).collect();
        let inventory = try_join_all((1..=shape.replicas).map(|n| launch.inventory(n))).await?;
        let (inventory, inventory_urls): (Vec<_>, Vec<_>) = inventory.into_iter().unzip();
        let launched = (1..=shape.replicas).map(|n| launch.order(n, &inventory_urls, &nodes));
        let (orders, order_urls): (Vec<_>, Vec<_>) = try_join_all(launched).await?.into_iter().unzip();
        let audit = admit_auditor(&databases).await?;

        let named = |kind: &str, pids: Vec<u32>| -> Vec<_> {
            pids.into_iter().enumerate().map(|(n, pid)| (format!("{kind}-{}", n + 1), pid)).collect()
        };
        let mut pids = named("order", orders.iter().map(|p| p.pid()).collect());
        pids.extend(named("inventory", inventory.iter().map(|p| p.pid()).collect()));
        pids.extend(named("redis", redis.iter().filter_map(RedisNode::pid).collect()));
        pids.extend(postgres.pid().map(|pid| ("postgres".to_owned(), pid)));
        let target = Target {
            orders: order_urls,
            inventory: inventory_urls,
            redis: nodes,
            postgres: databases,
            inventory_token: LAB_TOKEN.to_owned(),
            pids: pids.into_iter().collect(),
        };
        Ok(Self { target, audit, redis, orders, inventory, _postgres: postgres, _logs: folder })
    }

    /// For stopping and continuing its replicas.
    pub fn controls(&self) -> Controls {
        let of = |kind: &str, processes: &[Arc<Process>]| {
            let named = processes.iter().enumerate();
            named.map(|(n, process)| Control::child(&format!("{kind}-{}", n + 1), process)).collect()
        };
        Controls { orders: of("order", &self.orders), inventory: of("inventory", &self.inventory) }
    }

    /// Ends the services in good order, then the servers.
    pub async fn shut_down(mut self) {
        for replicas in [std::mem::take(&mut self.orders), std::mem::take(&mut self.inventory)] {
            let ending = replicas.into_iter().filter_map(Arc::into_inner).map(|p| p.terminate(END_WITHIN));
            futures_util::future::join_all(ending).await;
        }
    }
}

struct Programs {
    inventory: PathBuf,
    order: PathBuf,
}

impl Programs {
    fn beside(folder: &Path) -> anyhow::Result<Self> {
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

struct Launch<'a> {
    shape: &'a Shape,
    programs: &'a Programs,
    logs: &'a Path,
    databases: &'a Databases,
}

impl Launch<'_> {
    async fn inventory(&self, n: usize) -> anyhow::Result<(Arc<Process>, String)> {
        let envs = [
            ("INVENTORY_LISTEN", "127.0.0.1:0".to_owned()),
            ("INVENTORY_DATABASE_URL", self.databases.inventory.clone()),
            ("INVENTORY_TOKEN", LAB_TOKEN.to_owned()),
        ];
        self.service(format!("inventory-{n}"), &self.programs.inventory, &envs).await
    }

    async fn order(&self, n: usize, inventory: &[String], nodes: &[String]) -> anyhow::Result<(Arc<Process>, String)> {
        let ms = |duration: Duration| duration.as_millis().to_string();
        let envs = [
            ("ORDER_LISTEN", "127.0.0.1:0".to_owned()),
            ("ORDER_DATABASE_URL", self.databases.order.clone()),
            ("ORDER_INVENTORY_URLS", inventory.join(",")),
            ("ORDER_INVENTORY_TOKEN", LAB_TOKEN.to_owned()),
            ("ORDER_LOCK_NODES", nodes.join(",")),
            ("ORDER_LOCK_LEASE_MS", ms(self.shape.lease)),
            ("ORDER_LOCK_WAIT_MS", ms(self.shape.wait)),
            ("ORDER_PAYMENT_MS", ms(self.shape.payment)),
        ];
        self.service(format!("order-{n}"), &self.programs.order, &envs).await
    }

    async fn service(
        &self,
        name: String,
        program: &Path,
        envs: &[(&str, String)],
    ) -> anyhow::Result<(Arc<Process>, String)> {
        let mut envs: Vec<_> = envs.iter().map(|(key, value)| ((*key).to_owned(), value.clone())).collect();
        // What the harness's own environment says about logs is not meant for the services.
        envs.push(("RUST_LOG".to_owned(), "warn".to_owned()));
        let mut process = Process::spawn(ProcessSpec {
            log: self.logs.join(format!("{name}.log")),
            program: program.to_path_buf(),
            args: vec![OsString::from("--lab")],
            envs,
            name,
        })?;
        let url = process.first_line(READY_WITHIN).await?;
        Ok((Arc::new(process), url))
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
