//! The replicas that run, with the table `replicas`: each renews its row, and a row that is not renewed any more tells
//! the others that they may take its keys over (`idempotency`).
//!
//! Absence: nothing here proves that a replica is gone. One that was paused comes back, and finds that another attempt
//! is the latest; until then the fence and inventory's one reservation for an order keep it from selling twice.

use std::time::Duration;

use postgres_pool::{Pool, PoolSettings};
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::dependencies;

/// The pause between two renewals.
const RENEW_EVERY: Duration = Duration::from_millis(500);
/// A row that was not renewed for this long is a replica that is gone: three renewals failed or came late.
pub(super) const GONE_AFTER: Duration = Duration::from_secs(2);
/// Much less than [`GONE_AFTER`]: a renewal that is not answered is sent again on another connection.
const STATEMENT_TIMEOUT: Duration = Duration::from_millis(400);
/// Rows of replicas that were killed are deleted once nothing can refer to them.
const KEPT_FOR: Duration = Duration::from_hours(24);

/// The row of this replica. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Membership {
    /// Names this process; another one after a restart.
    pub id: Uuid,
    pool: Pool,
}

impl Membership {
    /// A connection of its own, so that a pool in full use does not delay the renewal. Connects to nothing yet.
    ///
    /// # Errors
    /// The URL is not one of Postgres.
    pub fn new(database_url: &str) -> Result<Self, sqlx::Error> {
        let pool = PoolSettings {
            application: "order-membership",
            connections: 1,
            statement_timeout: STATEMENT_TIMEOUT,
            options: &[("synchronous_commit", "off")],
        };
        Ok(Self { id: Uuid::now_v7(), pool: pool.pool(database_url)? })
    }

    /// Creates or renews the row.
    ///
    /// # Errors
    /// The database failed; the row was not renewed, as far as is known.
    pub async fn renew(&self) -> Result<(), sqlx::Error> {
        let renewed = sqlx::query(
            "with forgotten as (delete from replicas where seen_at < now() - make_interval(secs => $2) and id <> $1)
             insert into replicas (id) values ($1) on conflict (id) do update set seen_at = now()",
        );
        renewed.bind(self.id).bind(KEPT_FOR.as_secs_f64()).execute(&self.pool).await.map(drop)
    }

    /// Renews the row until `stop`; a renewal that failed is followed by the next.
    pub async fn keep_renewing(self, stop: CancellationToken) {
        loop {
            if let Err(error) = self.renew().await {
                tracing::debug!(%error, "row of this replica not renewed; its keys may be taken over");
                dependencies::record_failure(&error.into());
            }
            tokio::select! {
                () = sleep(RENEW_EVERY) => {}
                () = stop.cancelled() => return,
            }
        }
    }

    /// Deletes the row: the keys that are still in flight may be taken over at once.
    pub async fn leave(&self) {
        if let Err(error) = sqlx::query("delete from replicas where id = $1").bind(self.id).execute(&self.pool).await {
            tracing::debug!(%error, "row of this replica not deleted; it counts as gone two seconds later");
        }
        self.pool.close().await;
    }
}
