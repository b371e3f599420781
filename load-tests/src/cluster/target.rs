//! The addresses of a stack, started by this process or running already.
//!
//! Invariant: a target can be audited: it has replicas of both services and both databases.
//! Absence: nothing is started here.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context as _, bail};
use serde::{Deserialize, Serialize};
use sqlx::{Connection as _, PgConnection};
use tokio::time::timeout;
use url::Url;

use super::process::{ReplicaProcess, ReplicaProcesses};
use crate::bad_usage::BadUsage;

/// For an answer over HTTP, and for everything on one connection to a database.
const ANSWERS_WITHIN: Duration = Duration::from_secs(10);

/// The addresses of a stack: the line that `oversell stack --json` prints.
#[derive(Debug, Clone, Serialize, Deserialize, PartialEq, Eq)]
pub struct Target {
    /// The base URL of every replica of order.
    pub orders: Vec<String>,
    /// The base URL of every replica of inventory.
    pub inventory: Vec<String>,
    /// The URLs of the lock nodes; empty if not known.
    #[serde(default)]
    pub redis: Vec<String>,
    /// Both databases.
    pub postgres: Databases,
    /// The bearer token of inventory.
    pub inventory_token: String,
    /// Process ids by name: `order-1`, `inventory-1`, `redis-1`, `postgres`. Empty if they run elsewhere.
    #[serde(default)]
    pub pids: BTreeMap<String, u32>,
}

/// The URLs of the databases.
#[derive(Debug, Clone, Serialize, Deserialize, PartialEq, Eq)]
pub struct Databases {
    /// Of inventory: stock, reservations, the ledger.
    pub inventory: String,
    /// Of order: orders, idempotency keys, payments.
    pub order: String,
}

impl Target {
    /// From the arguments of `--target`: the line of `stack --json`, or URLs in any order. Each service and each
    /// database is asked which it is.
    ///
    /// # Errors
    /// An argument is no URL or does not answer, or a part of the system is missing.
    pub async fn find(words: &[String], inventory_token: &str) -> anyhow::Result<Self> {
        if let [line] = words
            && line.trim_start().starts_with('{')
        {
            let bad = || BadUsage("--target is not the line that `oversell stack --json` prints".to_owned());
            return serde_json::from_str(line).with_context(bad);
        }
        let (mut orders, mut inventory, mut redis, mut databases) = (vec![], vec![], vec![], vec![]);
        for word in words {
            let url = Url::parse(word).with_context(|| {
                BadUsage(format!("--target: {word} is not a URL, such as http://127.0.0.1:8080 or postgres://…"))
            })?;
            let base = word.trim_end_matches('/').to_owned();
            match url.scheme() {
                "http" | "https" if is_inventory(&base).await? => inventory.push(base),
                "http" | "https" => orders.push(base),
                "redis" | "rediss" => redis.push(base),
                "postgres" | "postgresql" => databases.push(base),
                other => bail!(BadUsage(format!(
                    "--target: {word}: no part of the system is reached by {other}:, only by http:, redis: and postgres:"
                ))),
            }
        }
        let parts = [("order", orders.len()), ("inventory", inventory.len())];
        if let Some((missing, _)) = parts.iter().find(|(_, found)| *found == 0) {
            bail!(BadUsage(format!("--target names no replica of {missing}")));
        }
        let postgres = Databases::among(&databases).await?;
        let inventory_token = inventory_token.to_owned();
        Ok(Self { orders, inventory, redis, postgres, inventory_token, pids: BTreeMap::new() })
    }

    /// The replicas whose processes can be paused.
    pub fn replica_processes(&self) -> ReplicaProcesses {
        let of = |kind: &str, count| {
            let names = (1..=count).map(|n| format!("{kind}-{n}"));
            names.map_while(|name| ReplicaProcess::external(&name, *self.pids.get(&name)?)).collect()
        };
        ReplicaProcesses { orders: of("order", self.orders.len()), inventory: of("inventory", self.inventory.len()) }
    }
}

impl Databases {
    /// Sorts the URLs by the service whose tables they have; there must be one of each.
    ///
    /// # Errors
    /// A database is missing, named twice, or cannot be read.
    pub async fn among(urls: &[String]) -> anyhow::Result<Self> {
        let (mut inventory, mut order) = (None, None);
        for url in urls {
            let parsed = Url::parse(url);
            if !parsed.is_ok_and(|url| ["postgres", "postgresql"].contains(&url.scheme())) {
                bail!(BadUsage(format!("{} is not the URL of a database: postgres://…", without_password(url))));
            }
            let slot = if has_table(url, "stock_ledger").await? {
                &mut inventory
            } else if has_table(url, "idempotency_keys").await? {
                &mut order
            } else {
                bail!("{} is the database of neither service", without_password(url));
            };
            if slot.replace(url.clone()).is_some() {
                bail!(BadUsage("two of the databases belong to the same service".to_owned()));
            }
        }
        let named = || {
            let needed =
                "the auditor needs the database of each service: a postgres:// URL for inventory, another for order";
            BadUsage(needed.to_owned())
        };
        Ok(Self { inventory: inventory.with_context(named)?, order: order.with_context(named)? })
    }
}

/// Inventory has `/v1/stock` behind a bearer token; order has no such path.
async fn is_inventory(base: &str) -> anyhow::Result<bool> {
    let client = reqwest::Client::builder().no_proxy().timeout(ANSWERS_WITHIN).build()?;
    let answer = client.get(format!("{base}/v1/stock")).send().await;
    let answer = answer.with_context(|| format!("{base} does not answer"))?;
    Ok(answer.status() != reqwest::StatusCode::NOT_FOUND)
}

async fn has_table(url: &str, table: &str) -> anyhow::Result<bool> {
    let exists = sqlx::query_scalar("select to_regclass($1) is not null").bind(table);
    on_connection(url, async |connection| Ok(exists.fetch_one(connection).await?)).await
}

/// Runs statements on a connection of their own. A silent server ends them too.
///
/// # Errors
/// The statements failed, or all of it took longer than 10 s.
pub(crate) async fn on_connection<T>(
    url: &str,
    statements: impl AsyncFnOnce(&mut PgConnection) -> anyhow::Result<T>,
) -> anyhow::Result<T> {
    let shown = without_password(url);
    let run = async {
        let mut connection = PgConnection::connect(url).await?;
        let result = statements(&mut connection).await?;
        connection.close().await?;
        anyhow::Ok(result)
    };
    let answer = timeout(ANSWERS_WITHIN, run).await.with_context(|| format!("{shown} does not answer"))?;
    answer.with_context(|| format!("{shown} cannot be used"))
}

fn without_password(url: &str) -> String {
    Url::parse(url).map_or_else(
        // Whatever it is, a password may be in it.
        |_| url.rsplit('@').next().unwrap_or_default().to_owned(),
        |mut url| {
            let _ = url.set_password(None);
            url.to_string()
        },
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target() -> Target {
        let line = r#"{"orders": ["http://a", "http://b"], "inventory": ["http://c"], "redis": [],
            "postgres": {"inventory": "postgres://x/inventory", "order": "postgres://x/orders"},
            "inventory_token": "t", "pids": {"order-1": 11, "order-2": 12, "postgres": 13}}"#;
        serde_json::from_str(line).expect("the line of stack --json")
    }

    #[tokio::test]
    async fn the_line_of_stack_json_is_read_as_it_was_written() {
        let line = serde_json::to_string(&target()).expect("JSON");
        assert_eq!(Target::find(&[line], "unused").await.expect("a target"), target());
    }

    #[test]
    fn only_replicas_with_a_process_id_can_be_paused() {
        let processes = target().replica_processes();
        assert_eq!(processes.orders.iter().map(ReplicaProcess::pid).collect::<Vec<_>>(), [11, 12]);
        assert!(processes.inventory.is_empty());
    }

    #[tokio::test]
    async fn an_argument_that_is_no_url_is_named_in_the_error() {
        let error = Target::find(&["somewhere".into()], "t").await.expect_err("no URL");
        assert!(error.to_string().contains("somewhere"), "{error}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_database_that_is_silent_is_named_in_the_error_in_time() {
        let silent = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
        let url = format!("postgres://u:secret@{}/db", silent.local_addr().expect("an address"));
        let error = on_connection(&url, async |_| Ok(())).await.expect_err("no answer");
        assert!(error.to_string().ends_with("/db does not answer"), "{error}");
    }

    #[test]
    fn a_password_is_not_shown() {
        assert!(!without_password("postgres://u:secret@h/db").contains("secret"));
    }
}
