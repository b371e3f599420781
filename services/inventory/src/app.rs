//! The service put together: database, lab, credentials; and what is waited for when it stops.

use std::time::Duration;

use anyhow::Context as _;
use fenced_lock::{ClientName, Lease, Locks, Nodes, Options, Resource};
use service_kit::{auth::BearerToken, limits::Limits, serve};
use tokio::{
    net::TcpListener,
    time::{interval, timeout},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{
    changes::Changes,
    config::Config,
    lab::Lab,
    outages, router,
    stock_db::{Database, StockDb},
    stock_locks::StockLocks,
    sweeper::{self, Sweeper},
};

const READY_WITHIN: Duration = Duration::from_secs(1);
/// Longer than any statement may take.
const WRITES_END_WITHIN: Duration = Duration::from_secs(8);

/// Often enough to see a pool run dry.
const POOL_WATCHED_EVERY: Duration = Duration::from_secs(1);

/// What every handler reaches. Cheap to clone.
#[derive(Debug, Clone)]
pub struct App {
    /// The service's own database.
    pub db: StockDb,
    /// What inventory changes by itself, under a lock.
    pub changes: Changes,
    /// There only while the lab is switched on.
    pub lab: Option<Lab>,
    /// What callers must send.
    pub token: BearerToken,
    /// Most lines in one request.
    pub max_lines: usize,
    sweeper: Sweeper,
    writes: TaskTracker,
}

impl App {
    /// Connects and migrates.
    ///
    /// # Errors
    /// The configuration is not fit for use, or Postgres is away.
    pub async fn build(config: &Config) -> anyhow::Result<Self> {
        config.check()?;
        let migrate_url = config.migrate_url.as_ref().unwrap_or(&config.database_url).clone();
        let url = config.database_url.clone();
        let database = Database { url, migrate_url, pool: config.pool, lab: config.lab };
        let db = StockDb::connect(&database).await.context("INVENTORY_DATABASE_URL, INVENTORY_MIGRATE_URL")?;
        let lab = config.lab.then(Lab::default);
        let changes = Changes { db: db.clone(), locks: stock_locks(config)?, lab: lab.clone() };
        let token = BearerToken::new(config.token.clone());
        let every = Duration::from_millis(config.sweep_ms);
        let office = Resource::new(sweeper::OFFICE)?;
        let sweeper = Sweeper::new(changes.clone(), every, config.sweep_batch, office);
        Ok(Self { db, changes, lab, token, max_lines: config.max_lines, sweeper, writes: TaskTracker::new() })
    }

    /// Runs a write to its end though the caller hung up: it was sent, so it may land, and the fence
    /// decides whether it counts.
    pub fn spawn_write<T: Send + 'static>(
        &self,
        write: impl Future<Output = T> + Send + 'static,
    ) -> tokio::task::JoinHandle<T> {
        self.writes.spawn(service_kit::trace::in_current_trace(write))
    }

    /// Serves until `shutdown`, then lets writes end.
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
        self.writes.spawn(self.sweeper.clone().run(stop.clone()));
        self.writes.spawn(outages::watch(self.changes.clone(), stop.clone()));
        self.writes.spawn(watch_pool(self.db.clone(), stop.clone()));
        let limits = Limits { body_bytes: config.max_body_bytes, concurrency: config.max_concurrency };
        let db = self.db.clone();
        let ready = move || -> serve::Readiness {
            let db = db.clone();
            Box::pin(async move {
                let answers = matches!(timeout(READY_WITHIN, db.ready()).await, Ok(Ok(())));
                if answers { Ok(()) } else { Err(vec!["postgres".to_owned()]) }
            })
        };
        let served = serve::serve(listener, router::router(self.clone()), ready, limits, shutdown).await;
        stop.cancel();
        self.writes.close();
        if timeout(WRITES_END_WITHIN, self.writes.wait()).await.is_err() {
            tracing::warn!("some writes did not end in time; postgres undoes them");
        }
        self.db.close().await;
        served
    }
}

/// How many connections there are, and how many of them wait for work.
async fn watch_pool(db: StockDb, stop: CancellationToken) {
    let mut every = interval(POOL_WATCHED_EVERY);
    loop {
        tokio::select! { () = stop.cancelled() => return, _ = every.tick() => {} }
        let (open, idle) = db.connections();
        metrics::gauge!("inventory_pool_connections", "state" => "open").set(open);
        metrics::gauge!("inventory_pool_connections", "state" => "idle").set(u32::try_from(idle).unwrap_or(u32::MAX));
    }
}

fn stock_locks(config: &Config) -> anyhow::Result<StockLocks> {
    let lease = Lease::new(Duration::from_millis(config.lock_lease_ms)).context("INVENTORY_LOCK_LEASE_MS")?;
    let redlock = match &config.lock_nodes {
        None => None,
        Some(nodes) => {
            let nodes = Nodes::parse(nodes).context("INVENTORY_LOCK_NODES")?;
            let owner = ClientName::new(format!("inventory-{}", std::process::id()))?;
            Some(Locks::redlock(nodes, Options::default().with_client_name(owner)))
        }
    };
    Ok(StockLocks::new(redlock, lease, config.lock_wait()))
}
