//! The service put together: database, lab, credentials; and what is waited for when it stops.

use std::time::Duration;

use anyhow::Context as _;
use service_kit::{auth::BearerToken, limits::Limits, serve};
use tokio::{net::TcpListener, time::timeout};
use tokio_util::task::TaskTracker;

use crate::{config::Config, lab::Lab, router, stock_db::StockDb};

const READY_WITHIN: Duration = Duration::from_secs(1);
/// Longer than any statement may take.
const WRITES_END_WITHIN: Duration = Duration::from_secs(8);

/// What every handler reaches. Cheap to clone.
#[derive(Debug, Clone)]
pub struct App {
    /// The service's own database.
    pub db: StockDb,
    /// There only while the lab is switched on.
    pub lab: Option<Lab>,
    /// What callers must send.
    pub token: BearerToken,
    /// Most lines in one request.
    pub max_lines: usize,
    writes: TaskTracker,
}

impl App {
    /// Connects and migrates.
    ///
    /// # Errors
    /// The configuration is not fit for use, or Postgres is away.
    pub async fn build(config: &Config) -> anyhow::Result<Self> {
        config.check()?;
        let db = StockDb::connect(&config.database_url, config.pool).await;
        Ok(Self {
            db: db.context("INVENTORY_DATABASE_URL")?,
            lab: config.lab.then(Lab::default),
            token: BearerToken::new(config.token.clone()),
            max_lines: config.max_lines,
            writes: TaskTracker::new(),
        })
    }

    /// Runs a write to its end though the caller hung up: it was sent, so it may land, and the fence
    /// decides whether it counts.
    pub fn spawn_write<T: Send + 'static>(
        &self,
        write: impl Future<Output = T> + Send + 'static,
    ) -> tokio::task::JoinHandle<T> {
        self.writes.spawn(service_kit::trace::carry(write))
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
        self.writes.close();
        if timeout(WRITES_END_WITHIN, self.writes.wait()).await.is_err() {
            tracing::warn!("some writes did not end in time; postgres undoes them");
        }
        self.db.close().await;
        served
    }
}
