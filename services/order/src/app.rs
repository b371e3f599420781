//! The wired service: built from its configuration, and run until it is stopped.
//! Everything long-lived is created here; nothing here handles an order.

use std::{future::Future, sync::Arc, time::Duration};

use anyhow::Context as _;
use contract::LockKind;
use fenced_lock::Lease;
use service_kit::{
    limits::Limits,
    serve::{self, Readiness},
    start::Setting,
    supervise::supervise,
};
use tokio::{
    net::TcpListener,
    sync::oneshot,
    time::{Instant, timeout, timeout_at},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{
    config::Config,
    dependencies,
    domain::order::OrderLimits,
    http::{
        lab::Lab,
        orders::{self, OrdersApi},
        router,
    },
    inventory::client::InventoryClient,
    locks,
    placement::{
        batcher::Batcher, critical_section::CriticalSection, housekeeping, pauses::WritePauses,
        place_order::OrderPlacement, probes, reconcile, short_skus::ShortSkus, sku_limit::SkuLimit,
    },
    store::{database::Database, payments::PaymentProvider, replicas::Membership},
};

/// Connections that record authorisations.
const PAYMENT_CONNECTIONS: u32 = 4;
/// A dependency that has not answered a readiness probe by then counts as down.
const READY_WITHIN: Duration = Duration::from_secs(1);

/// For released locks to reach every server, at the end. Connections to Postgres are closed meanwhile.
const LOCKS_CLOSE_WITHIN: Duration = Duration::from_secs(2);

/// The order service. Cheap to clone.
#[derive(Debug, Clone)]
pub struct App {
    /// What the handlers share.
    pub api: Arc<OrdersApi>,
    membership: Membership,
}

impl App {
    /// Wires everything; connects to Postgres, to migrate it, and to the lock nodes, to check them. Lock nodes that do not
    /// answer are waited for up to two seconds and do not matter here.
    ///
    /// # Errors
    /// The configuration cannot work, lock nodes are not independent servers, or the database does not answer.
    pub async fn build(config: &Config) -> anyhow::Result<Self> {
        config.check().context(Setting("configuration"))?;
        let (lease, locks) =
            (Lease::new(config.lease()).context(Setting("ORDER_LOCK_LEASE_MS"))?, locks::configured(config)?);
        let membership = Membership::new(&config.database_url).context(Setting("ORDER_DATABASE_URL"))?;
        let db =
            Database::new(&config.database_url, config.pool, membership.id).context(Setting("ORDER_DATABASE_URL"))?;
        let payment_latency = Duration::from_millis(config.payment_ms);
        let payment_limit = Duration::from_millis(config.payment_timeout_ms);
        // A read or a claim that takes longer is better sent to another replica.
        let read_timeout = (config.lease() / 3).min(Duration::from_secs(2));
        let token = config.inventory_token.clone();
        let section = CriticalSection {
            locks: Arc::new(locks),
            inventory: InventoryClient::new(config.inventory_urls.clone(), token, read_timeout)?,
            payments: PaymentProvider::new(&config.database_url, PAYMENT_CONNECTIONS, payment_latency, payment_limit)?,
            lease,
            wait: Duration::from_millis(config.lock_wait_ms),
            hold: Duration::from_secs(config.hold_seconds),
            pauses: config.lab.then(WritePauses::default),
        };
        section.lock(config.strategy).context(Setting("ORDER_STRATEGY"))?;
        if let Some(redlock) = section.locks.get(&LockKind::Redlock) {
            redlock.check_nodes().await.context(Setting("ORDER_LOCK_NODES"))?;
        }
        match db.migrate().await {
            Err(error) if error.is_configuration() => Err(error).context(Setting("ORDER_DATABASE_URL")),
            migrated => migrated.context("the order database could not be migrated"),
        }?;
        membership.renew().await.context("this replica could not be registered in the order database")?;
        let placement = OrderPlacement {
            batcher: Batcher::new(section, config.max_batch),
            db,
            short_skus: ShortSkus::default(),
            sku_limit: SkuLimit::of(config.max_concurrency),
            key_lifetime: Duration::from_secs(60 * 60 * config.key_hours),
            retained_for: config.retained_for(),
            render: orders::render,
            tasks: TaskTracker::new(),
        };
        let limits = OrderLimits { lines: config.max_lines, quantity: config.max_quantity };
        let api = OrdersApi { placement, default_strategy: config.strategy, lab: config.lab, limits };
        Ok(Self { api: Arc::new(api), membership })
    }

    /// Serves until `shutdown`, then lets orders in progress finish, for at most the time budget of an order and a few
    /// seconds to close connections. What is not finished by then is taken over by another replica.
    ///
    /// # Errors
    /// The listener failed.
    pub async fn run(
        self,
        listener: TcpListener,
        config: &Config,
        shutdown: impl Future<Output = ()> + Send + 'static,
    ) -> std::io::Result<()> {
        let placement = &self.api.placement;
        let stop = CancellationToken::new();
        let every = Duration::from_millis(config.reconcile_ms);
        let own = placement.clone();
        let reconcile = move |stop| reconcile::run(own.clone(), every, stop);
        placement.tasks.spawn(supervise("reconciler", stop.clone(), reconcile));
        let own = placement.clone();
        let housekeeping = move |stop| housekeeping::run(own.clone(), every, stop);
        placement.tasks.spawn(supervise("housekeeping", stop.clone(), housekeeping));
        let own = placement.clone();
        let probe = move |stop| probes::run(own.clone(), stop);
        placement.tasks.spawn(supervise("probes of outages", stop.clone(), probe));
        // It outlives `stop`: what is drained then is still this replica's.
        let renewing = CancellationToken::new();
        let _renewal = renewing.clone().drop_guard();
        let own = self.membership.clone();
        let renew = move |stop| own.clone().keep_renewing(stop);
        let renewed = tokio::spawn(supervise("renewal of the replica's row", renewing.clone(), renew));
        let limits = Limits { body_bytes: config.max_body_bytes, concurrency: config.max_concurrency };
        let section = placement.section();
        let slow_payments = section.payments.slow.clone();
        let strategies = section.strategies();
        let lab = section.pauses.clone().map(|pauses| Lab { pauses, slow_payments, strategies });
        let routes = router::router(Arc::clone(&self.api), lab);
        let app = self.clone();
        let ready = move || -> Readiness {
            let app = app.clone();
            Box::pin(async move { app.ready().await })
        };
        let (drain, (stopping, stopped)) = (placement.time_budget(), oneshot::channel());
        let shutdown = async move {
            shutdown.await;
            let _serving = stopping.send(Instant::now());
        };
        let served = serve::serve_and_drain(listener, routes, ready, limits, shutdown, drain).await;
        stop.cancel();
        self.drain(stopped.await.unwrap_or_else(|_| Instant::now()) + drain).await;
        renewing.cancel();
        let _ended = renewed.await;
        self.membership.leave().await;
        self.api.placement.db.close().await;
        served
    }

    /// Postgres and the lock of the default strategy. Without inventory this service still answers
    /// retries of finished orders, so inventory does not count.
    async fn ready(&self) -> Result<(), Vec<String>> {
        let OrdersApi { placement, default_strategy, .. } = self.api.as_ref();
        let database = timeout(READY_WITHIN, placement.db.ready());
        let locks = timeout(READY_WITHIN, placement.section().lock_ready(*default_strategy));
        let (database, locks) = tokio::join!(database, locks);
        let lock = dependencies::lock(default_strategy.lock()).dependency();
        let missing: Vec<_> = [("postgres", matches!(database, Ok(Ok(())))), (lock, matches!(locks, Ok(Ok(()))))]
            .into_iter()
            .filter(|(_, ready)| !ready)
            .map(|(name, _)| name.to_owned())
            .collect();
        if missing.is_empty() { Ok(()) } else { Err(missing) }
    }

    /// Waits until `by` for orders whose client hung up and for writes without an answer.
    async fn drain(&self, by: Instant) {
        let placement = &self.api.placement;
        placement.tasks.close();
        let ended = async {
            placement.tasks.wait().await;
            placement.batcher.drained().await;
            placement.section().inventory.writes_ended().await;
        };
        if timeout_at(by, ended).await.is_err() {
            tracing::warn!("orders still in progress at the end of the drain; they are reconciled at the next start");
        }
        placement.section().close_locks(LOCKS_CLOSE_WITHIN).await;
    }
}
