//! The service as a whole: what it is built from, its background tasks, and what it waits for when it stops.

use std::{sync::Arc, time::Duration};

use anyhow::Context as _;
use fenced_lock::{ClientName, Lease, Locks, Nodes, Options, Resource};
use service_kit::{auth::BearerToken, limits::Limits, serve, start::Setting, supervise::supervise};
use tokio::{net::TcpListener, time::timeout};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{
    config::Config,
    http::{router, state::AppState},
    lab::Lab,
    maintenance::{
        changes::ReservationChanges,
        probes, retention,
        stock_lock::StockLocks,
        sweeper::{self, Sweeper},
    },
    store::{Database, StockDb},
};

const READINESS_TIMEOUT: Duration = Duration::from_secs(1);
/// Longer than any statement may take.
const WRITE_DRAIN_TIMEOUT: Duration = Duration::from_secs(8);

/// For released locks to reach every node, at the end. Connections to Postgres are closed meanwhile.
const LOCKS_CLOSE_WITHIN: Duration = Duration::from_secs(2);

/// The service, ready to run.
#[derive(Debug, Clone)]
pub struct App {
    /// The state that all handlers share.
    pub state: Arc<AppState>,
    sweeper: Sweeper,
}

impl App {
    /// Migrates the database and builds the service.
    ///
    /// # Errors
    /// The configuration is refused, or Postgres is unavailable.
    pub async fn build(config: &Config) -> anyhow::Result<Self> {
        config.check().context(Setting("configuration"))?;
        let migrate_url = config.migrate_url.as_ref().unwrap_or(&config.database_url).clone();
        let url = config.database_url.clone();
        Database::check_url(&url).context(Setting("INVENTORY_DATABASE_URL"))?;
        Database::check_url(&migrate_url).context(Setting("INVENTORY_MIGRATE_URL"))?;
        let database = Database { url, migrate_url, pool: config.pool, lab: config.lab };
        let locks = stock_locks(config)?;
        let urls = "INVENTORY_DATABASE_URL, INVENTORY_MIGRATE_URL";
        let db = match StockDb::connect(&database).await {
            Err(error) if error.is_configuration() => Err(error).context(Setting(urls)),
            connected => connected.context(urls),
        }?;
        let lab = config.lab.then(Lab::default);
        let changes = ReservationChanges { db: db.clone(), locks, lab: lab.clone() };
        let interval = Duration::from_millis(config.sweep_ms);
        let election = Resource::new(sweeper::ELECTION)?;
        let sweeper = Sweeper::new(changes.clone(), interval, config.sweep_batch, election);
        let token = BearerToken::new(config.token.clone());
        let writes = TaskTracker::new();
        let state = AppState { db, changes, lab, token, max_lines: config.max_lines, writes };
        Ok(Self { state: Arc::new(state), sweeper })
    }

    /// Serves until `shutdown`, and then waits for the writes that were started.
    ///
    /// # Errors
    /// The listener failed.
    pub async fn run(
        self,
        listener: TcpListener,
        config: &Config,
        shutdown: impl Future<Output = ()> + Send + 'static,
    ) -> std::io::Result<()> {
        let Self { state, sweeper } = self;
        let (db, writes) = (state.db.clone(), state.writes.clone());
        let locks = state.changes.locks.clone();
        let redlock = locks.redlock().cloned();
        let stop = CancellationToken::new();
        writes.spawn(supervise("sweeper", stop.clone(), move |stop| sweeper.clone().run(stop)));
        let probed = db.clone();
        let probe = move |stop| probes::probe_outages(probed.clone(), redlock.clone(), stop);
        writes.spawn(supervise("probes of outages", stop.clone(), probe));
        let counted = db.clone();
        let record = move |stop| probes::record_pool_metrics(counted.clone(), stop);
        writes.spawn(supervise("metrics of the pool", stop.clone(), record));
        if let Some(retained) = config.retained_for() {
            let kept = db.clone();
            let delete = move |stop| retention::run(kept.clone(), retained, stop);
            writes.spawn(supervise("retention", stop.clone(), delete));
        }
        let limits = Limits { body_bytes: config.max_body_bytes, concurrency: config.max_concurrency };
        let probed = db.clone();
        let ready = move || -> serve::Readiness {
            let db = probed.clone();
            Box::pin(async move {
                let answers = matches!(timeout(READINESS_TIMEOUT, db.ready()).await, Ok(Ok(())));
                if answers { Ok(()) } else { Err(vec!["postgres".to_owned()]) }
            })
        };
        let served = serve::serve(listener, router::router(state), ready, limits, shutdown).await;
        stop.cancel();
        writes.close();
        if timeout(WRITE_DRAIN_TIMEOUT, writes.wait()).await.is_err() {
            tracing::warn!("stopping with writes still in progress: Postgres rolls them back");
        }
        tokio::join!(db.close(), locks.close(LOCKS_CLOSE_WITHIN));
        served
    }
}

fn stock_locks(config: &Config) -> anyhow::Result<StockLocks> {
    let lease = Lease::new(Duration::from_millis(config.lock_lease_ms)).context(Setting("INVENTORY_LOCK_LEASE_MS"))?;
    let redlock = match &config.lock_nodes {
        None => None,
        Some(nodes) => {
            let nodes = Nodes::parse(nodes).context(Setting("INVENTORY_LOCK_NODES"))?;
            let owner = ClientName::new(format!("inventory-{}", std::process::id()))?;
            Some(Locks::redlock(nodes, Options::default().with_client_name(owner)))
        }
    };
    Ok(StockLocks::new(redlock, lease, config.lock_wait()))
}
