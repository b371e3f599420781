//! The wired service: built from its configuration, run until told to stop.
//! Everything long-lived is here; everything that happens is elsewhere.

use std::{future::Future, sync::Arc, time::Duration};

use anyhow::Context as _;
use fenced_lock::{AdvisoryDatabase, ClientName, EtcdEndpoints, Lease, NodeTimeout, Nodes, Options, ZookeeperEnsemble};
use service_kit::{
    limits::Limits,
    serve::{self, Readiness},
};
use tokio::{net::TcpListener, task::JoinHandle, time::timeout};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::config::Config;
use crate::domain::order::OrderLimits;
use crate::http::lab::Lab;
use crate::http::router;
use crate::inventory::client::InventoryClient;
use crate::outages;
use crate::placement::batcher::Batcher;
use crate::placement::critical_section::CriticalSection;
use crate::placement::locks::{Addresses, LockSet};
use crate::placement::reconcile;
use crate::placement::service::OrderPlacement;
use crate::store::orders::Database;
use crate::store::payments::PaymentProvider;
use crate::strategy::Strategy;

/// Connections for the provider's books.
const PAYMENT_CONNECTIONS: u32 = 4;
/// A readiness probe wants an answer soon, or none.
const READY_WITHIN: Duration = Duration::from_secs(1);

/// What handlers share. Cheap to clone.
#[derive(Debug, Clone)]
pub struct App {
    /// The whole way of an order.
    pub placement: Arc<OrderPlacement>,
    /// Where a request does not name one.
    pub default_strategy: Strategy,
    /// Unsafe strategies may be named.
    pub lab: bool,
    /// How much one order may ask for.
    pub limits: OrderLimits,
    tasks: TaskTracker,
}

impl App {
    /// Wires everything; connects to Postgres alone, to migrate it.
    ///
    /// # Errors
    /// Configuration that cannot work, or a database that does not answer.
    pub async fn build(config: &Config) -> anyhow::Result<Self> {
        config.check()?;
        let lease = Lease::new(config.lease()).context("ORDER_LOCK_LEASE_MS")?;
        let nodes = Nodes::parse(&config.lock_nodes).context("ORDER_LOCK_NODES")?;
        let at = Addresses {
            nodes,
            etcd: config
                .etcd_endpoints
                .as_deref()
                .map(EtcdEndpoints::parse)
                .transpose()
                .context("ORDER_ETCD_ENDPOINTS")?,
            zookeeper: config
                .zookeeper
                .as_deref()
                .map(ZookeeperEnsemble::parse)
                .transpose()
                .context("ORDER_ZOOKEEPER")?,
            advisory: config
                .advisory_url
                .as_deref()
                .map(AdvisoryDatabase::parse)
                .transpose()
                .context("ORDER_ADVISORY_URL")?,
        };
        let owner = ClientName::new(format!("order-{}", std::process::id()))?;
        let db = Database::new(&config.database_url, config.pool).context("ORDER_DATABASE_URL")?;
        db.migrate().await.context("the order database could not be migrated")?;
        let payment = Duration::from_millis(config.payment_ms);
        // A read or a claim that takes longer is better asked of another replica.
        let call_timeout = (config.lease() / 3).min(Duration::from_secs(2));
        let token = config.inventory_token.clone();
        let key_lifetime = Duration::from_secs(60 * 60 * config.key_hours);
        // A server that flushes every grant may take a while, but never the whole lease.
        let slow = NodeTimeout::new((config.lease() / 4).clamp(Duration::from_millis(1), Duration::from_secs(1)))?;
        let locks = LockSet::new(at, &Options::default().with_client_name(owner), slow)?;
        locks.of(config.strategy).context("ORDER_STRATEGY")?;
        let section = CriticalSection {
            locks,
            inventory: InventoryClient::new(config.inventory_urls.clone(), token, call_timeout)?,
            payments: PaymentProvider::new(&config.database_url, PAYMENT_CONNECTIONS, payment)?,
            lease,
            wait: Duration::from_millis(config.lock_wait_ms),
            hold: Duration::from_secs(config.hold_seconds),
            lab: config.lab.then(Lab::default),
        };
        let batcher = Batcher::new(section, config.max_batch);
        Ok(Self {
            placement: Arc::new(OrderPlacement { batcher, db, key_lifetime }),
            default_strategy: config.strategy,
            lab: config.lab,
            limits: OrderLimits { lines: config.max_lines, quantity: config.max_quantity },
            tasks: TaskTracker::new(),
        })
    }

    /// Runs to its end whoever stops waiting, within the trace of the caller.
    pub fn spawn<T: Send + 'static>(&self, work: impl Future<Output = T> + Send + 'static) -> JoinHandle<T> {
        self.tasks.spawn(service_kit::trace::carry(work))
    }

    /// Serves until `shutdown`, then lets orders in flight finish.
    ///
    /// # Errors
    /// The listener failed.
    pub async fn run(
        self,
        listener: TcpListener,
        config: &Config,
        shutdown: impl Future<Output = ()> + Send + 'static,
    ) -> std::io::Result<()> {
        let stop = CancellationToken::new();
        let every = Duration::from_millis(config.reconcile_ms);
        self.tasks.spawn(reconcile::run((*self.placement).clone(), every, stop.clone()));
        self.tasks.spawn(outages::watch((*self.placement).clone(), self.default_strategy, stop.clone()));
        let limits = Limits { body_bytes: config.max_body_bytes, concurrency: config.max_concurrency };
        let (app, calls) = (self.clone(), router::router(self.clone()));
        let ready = move || -> Readiness {
            let app = app.clone();
            Box::pin(async move { app.ready().await })
        };
        let drain = self.placement.time_budget();
        let served = serve::serve_and_drain(listener, calls, ready, limits, shutdown, drain).await;
        stop.cancel();
        self.drain().await;
        served
    }

    /// Postgres and the lock quorum; inventory away is an answer, not a reason
    /// to take this service out.
    async fn ready(&self) -> Result<(), Vec<String>> {
        let database = timeout(READY_WITHIN, self.placement.db.ready());
        let locks = timeout(READY_WITHIN, self.placement.section().locks.ready(self.default_strategy));
        let (database, locks) = tokio::join!(database, locks);
        let missing: Vec<_> =
            [("postgres", matches!(database, Ok(Ok(())))), ("lock quorum", matches!(locks, Ok(Ok(()))))]
                .into_iter()
                .filter(|(_, answers)| !answers)
                .map(|(name, _)| name.to_owned())
                .collect();
        if missing.is_empty() { Ok(()) } else { Err(missing) }
    }

    /// Orders whose client hung up, and writes nobody waits for, end too: but
    /// not at any price, since whoever restarts us is waiting.
    async fn drain(&self) {
        self.tasks.close();
        let ended = async {
            self.tasks.wait().await;
            self.placement.batcher.drained().await;
            self.placement.section().inventory.writes_ended().await;
        };
        if timeout(self.placement.time_budget(), ended).await.is_err() {
            tracing::warn!("some orders did not end in time; they are reconciled at the next start");
        }
        self.placement.db.close().await;
    }
}
