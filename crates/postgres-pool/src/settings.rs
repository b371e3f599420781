//! What a pool is made from.

use std::{str::FromStr as _, sync::Arc, time::Duration};

use sqlx::postgres::{PgConnectOptions, PgPoolOptions};

use crate::{health::Health, pool::Pool};

/// How long a statement waits for a connection of the pool, connecting included: less than any lease.
const ACQUIRE_LIMIT: Duration = Duration::from_secs(1);
/// After the server's own `statement_timeout`, so that the server's answer usually comes first.
const STATEMENT_MARGIN: Duration = Duration::from_millis(500);

/// Every statement is planned once for each connection, and reads and joins by an index. Postgres would plan a statement with
/// arrays again each time, which costs more than to execute it; a plan made while a table was empty would read the whole table
/// until the next `analyze`; and a plan for any `limit` expects a tenth of all rows, and would join by reading a whole index.
const PLANS: [(&str, &str); 5] = [
    ("plan_cache_mode", "force_generic_plan"),
    ("enable_seqscan", "off"),
    ("enable_hashjoin", "off"),
    ("enable_mergejoin", "off"),
    // What is left to a sequential scan looks so expensive that its expressions would be compiled.
    ("jit", "off"),
];

/// The settings of a pool.
#[derive(Debug, Clone, Copy)]
pub struct PoolSettings<'a> {
    /// `application_name`, as `pg_stat_activity` shows it.
    pub application: &'a str,
    /// The most connections.
    pub connections: u32,
    /// The server's limit for a statement. A statement without an answer half a second later closes its connection.
    pub statement_timeout: Duration,
    /// Further settings of each session.
    pub options: &'a [(&'a str, &'a str)],
}

impl PoolSettings<'_> {
    /// Connects to nothing yet.
    ///
    /// # Errors
    /// The URL is not one of Postgres.
    pub fn pool(self, url: &str) -> Result<Pool, sqlx::Error> {
        let Self { application, connections, statement_timeout, options } = self;
        let health = Arc::new(Health::default());
        let connect = PgConnectOptions::from_str(url)?.application_name(application);
        let limit = statement_timeout.as_millis().to_string();
        let settings = options.iter().copied().chain(PLANS).chain([("statement_timeout", limit.as_str())]);
        let (names, values): (Vec<_>, Vec<_>) =
            settings.map(|(name, value)| (name.to_owned(), value.to_owned())).unzip();
        let tested = Arc::clone(&health);
        let connections = PgPoolOptions::new()
            .max_connections(connections)
            .acquire_timeout(ACQUIRE_LIMIT)
            .test_before_acquire(false)
            // Not as start-up options, which poolers refuse or drop.
            .after_connect(move |connection, _| {
                let (names, values) = (names.clone(), values.clone());
                Box::pin(async move {
                    let set =
                        "select set_config(name, value, false) from unnest($1::text[], $2::text[]) as s (name, value)";
                    let set = sqlx::query(set).persistent(false).bind(names).bind(values);
                    set.execute(connection).await.map(drop)
                })
            })
            .before_acquire(move |connection, meta| {
                let health = Arc::clone(&tested);
                Box::pin(async move { Ok(health.is_usable(connection, meta).await) })
            })
            .connect_lazy_with(connect);
        Ok(Pool { connections, health, statement_limit: statement_timeout + STATEMENT_MARGIN })
    }
}
