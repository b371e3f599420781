//! The floor: the rows of an order written in one transaction of one database, without services, locks or HTTP. It is what
//! a system would do at best that had only one service.
//!
//! Absence: no answer to a customer; nothing is read back.

use std::fmt;
use std::time::Duration;

use anyhow::Context as _;
use sqlx::Connection as _;
use testbed::PgBench;
use tokio::time::Instant;

use super::account::{Meter, Usage};
use super::median::median;
use super::point::WARM_UP;
use crate::cluster::stack::Stack;

const SCHEMA: &str = include_str!("schema.sql");
const ORDER: &str = include_str!("order.sql");
/// Connections: more make it no faster.
const CLIENTS: usize = 32;

/// A database for the floor, in the Postgres of a stack.
#[derive(Debug)]
pub(super) struct Floor {
    database: String,
    script: tempfile::NamedTempFile,
}

/// One measurement of the floor.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct FloorFigures {
    /// SKUs among which the orders choose.
    pub(super) skus: u64,
    pub(super) per_second: f64,
    pub(super) latency_ms: f64,
    /// What each order used.
    pub(super) usage: Usage,
}

impl Floor {
    /// Creates the database.
    ///
    /// # Errors
    /// Postgres refused.
    pub(super) async fn prepare(stack: &Stack) -> anyhow::Result<Self> {
        let database = stack.servers.postgres.lock().await.fresh_database("floor").await?;
        let mut connection = sqlx::PgConnection::connect(&database).await?;
        sqlx::raw_sql(SCHEMA).execute(&mut connection).await.context("the schema of the floor was refused")?;
        let script = tempfile::NamedTempFile::new()?;
        std::fs::write(script.path(), ORDER)?;
        Ok(Self { database, script })
    }

    /// Measures it with so many SKUs, a unit of which is in stock for every order.
    ///
    /// # Errors
    /// pgbench is not installed, or failed.
    pub(super) async fn measure(
        &self,
        meter: &mut Meter<'_>,
        skus: u64,
        lasting: Duration,
    ) -> anyhow::Result<FloorFigures> {
        let mut connection = sqlx::PgConnection::connect(&self.database).await?;
        let stock = "insert into stock (sku, on_hand, available) select 'sku-' || n, 1e12, 1e12 from generate_series(1, $1) as n
                     on conflict do nothing";
        sqlx::query(stock).bind(i64::try_from(skus)?).execute(&mut connection).await?;
        connection.close().await?;
        let variables = [("skus", skus.to_string())];
        let script = self.script.path().to_path_buf();
        // Longer than the meter reads, so that it measures nothing but orders.
        let bench = PgBench {
            database: &self.database,
            script,
            variables: &variables,
            clients: CLIENTS,
            lasting: WARM_UP + lasting + WARM_UP,
        };
        let begins = Instant::now() + WARM_UP;
        let (result, usage) = tokio::join!(bench.run(), meter.between(begins, begins + lasting));
        let result = result?;
        let usage = usage?.per(result.per_second * lasting.as_secs_f64());
        Ok(FloorFigures { skus, per_second: result.per_second, latency_ms: result.latency_ms, usage })
    }
}

impl FloorFigures {
    /// The median of each figure of those runs with so many SKUs; `None` without one.
    pub(super) fn median(runs: &[Self], skus: u64) -> Option<Self> {
        let same: Vec<_> = runs.iter().filter(|run| run.skus == skus).collect();
        let usage: Vec<_> = same.iter().map(|run| run.usage).collect();
        (!same.is_empty()).then(|| Self {
            skus,
            per_second: median(same.iter().map(|run| run.per_second)),
            latency_ms: median(same.iter().map(|run| run.latency_ms)),
            usage: Usage::median(&usage),
        })
    }
}

impl fmt::Display for FloorFigures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:.0}/s, {:.1} on average", self.per_second, self.latency_ms)
    }
}
