//! The configuration, from flags or the environment, and what is refused.
//! Units are in the names here and nowhere else.

use std::{net::SocketAddr, time::Duration};

use clap::Parser;
use contract::Strategy;
use service_kit::config::TelemetryArgs;
use url::Url;

/// The default token, which is public: refused where the lab is switched off.
pub const LAB_TOKEN: &str = "lab-only-token";

/// Takes orders: holds a distributed lock while it reads stock, decides and reserves units.
#[derive(Debug, Clone, Parser)]
#[command(name = "order", version)]
pub struct Config {
    /// Address to listen on; port 0 picks a free one, printed on stdout.
    #[arg(long, env = "ORDER_LISTEN", default_value = "127.0.0.1:8080")]
    pub listen: SocketAddr,
    /// Postgres database of this service, migrated at start.
    #[arg(long, env = "ORDER_DATABASE_URL", hide_env_values = true)]
    pub database_url: String,
    /// Connections to Postgres; a query waits up to a second for a free one.
    #[arg(long, env = "ORDER_POOL", default_value_t = 16)]
    pub pool: u32,
    /// URLs of all replicas of inventory, which are called in turn.
    #[arg(long, env = "ORDER_INVENTORY_URLS", value_delimiter = ',', required = true)]
    pub inventory_urls: Vec<Url>,
    /// Bearer token for inventory.
    #[arg(long, env = "ORDER_INVENTORY_TOKEN", default_value = LAB_TOKEN, hide_env_values = true, hide_default_value = true)]
    pub inventory_token: String,
    /// Independent Redis nodes of the lock: an odd number of redis:// URLs.
    #[arg(long, env = "ORDER_LOCK_NODES", required = true)]
    pub lock_nodes: String,
    /// Endpoints of an etcd cluster, required by the strategy etcd-fenced.
    #[arg(long, env = "ORDER_ETCD_ENDPOINTS")]
    pub etcd_endpoints: Option<String>,
    /// ZooKeeper ensemble, host:port[,host:port…], required by the strategy zookeeper-fenced.
    #[arg(long, env = "ORDER_ZOOKEEPER")]
    pub zookeeper: Option<String>,
    /// Postgres database for advisory locks, without a pooler in between; required by the strategy postgres-advisory.
    #[arg(long, env = "ORDER_ADVISORY_URL", hide_env_values = true)]
    pub advisory_url: Option<String>,
    /// Lease of the lock. Long enough for payment and reservation; a crashed
    /// holder blocks its SKUs for as long.
    #[arg(long, env = "ORDER_LOCK_LEASE_MS", default_value_t = 5_000)]
    pub lock_lease_ms: u64,
    /// How long an order waits for the lock before it is answered 503 lock_timeout.
    #[arg(long, env = "ORDER_LOCK_WAIT_MS", default_value_t = 10_000)]
    pub lock_wait_ms: u64,
    /// How long the simulated payment provider takes to authorise.
    #[arg(long, env = "ORDER_PAYMENT_MS", default_value_t = 2)]
    pub payment_ms: u64,
    /// How long units are held for an order until it is confirmed.
    #[arg(long, env = "ORDER_HOLD_SECONDS", default_value_t = 900)]
    pub hold_seconds: u64,
    /// How stock is guarded if a request names no strategy.
    #[arg(long, env = "ORDER_STRATEGY", default_value = "redlock-fenced", value_enum)]
    pub strategy: Strategy,
    /// Switches the lab on: requests may name strategies that can oversell, and replicas can be paused over HTTP.
    #[arg(long, env = "ORDER_LAB")]
    pub lab: bool,
    /// How often pending orders that a crash left behind are reconciled.
    #[arg(long, env = "ORDER_RECONCILE_MS", default_value_t = 1_000)]
    pub reconcile_ms: u64,
    /// How long an idempotency key keeps its answer; afterwards the same key means a new order.
    #[arg(long, env = "ORDER_KEY_HOURS", default_value_t = 24)]
    pub key_hours: u64,
    /// Most orders that share a grant and its write, from 1 to 64; with 1, none do. The write must stay far
    /// shorter than the lease.
    #[arg(long, env = "ORDER_MAX_BATCH", default_value_t = 64, value_parser = batch_size)]
    pub max_batch: usize,
    /// Most lines in one order.
    #[arg(long, env = "ORDER_MAX_LINES", default_value_t = 100)]
    pub max_lines: usize,
    /// Most units of one SKU in one order.
    #[arg(long, env = "ORDER_MAX_QUANTITY", default_value_t = 1_000_000)]
    pub max_quantity: i64,
    /// Largest request body.
    #[arg(long, env = "ORDER_MAX_BODY_BYTES", default_value_t = 1 << 20)]
    pub max_body_bytes: usize,
    /// Most requests in progress; more are answered 429 overloaded.
    #[arg(long, env = "ORDER_MAX_CONCURRENCY", default_value_t = 512)]
    pub max_concurrency: usize,
    /// Logs and spans.
    #[command(flatten)]
    pub telemetry: TelemetryArgs,
}

/// Why the service does not start.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum ConfigError {
    /// The default token is public.
    #[error("the default inventory token is public: set ORDER_INVENTORY_TOKEN, or switch the lab on with --lab")]
    LabToken,
    /// The strategy can sell more units than there are.
    #[error("strategy {0} can oversell: choose a safe one, or switch the lab on with --lab")]
    UnsafeStrategy(Strategy),
}

impl Config {
    /// Refuses a configuration that is safe only in a lab.
    ///
    /// # Errors
    /// Names what to set instead.
    pub fn check(&self) -> Result<(), ConfigError> {
        match self {
            Self { lab: true, .. } => Ok(()),
            Self { inventory_token, .. } if inventory_token == LAB_TOKEN => Err(ConfigError::LabToken),
            Self { strategy, .. } if !strategy.is_safe() => Err(ConfigError::UnsafeStrategy(*strategy)),
            Self { .. } => Ok(()),
        }
    }

    /// [`Config::lock_lease_ms`].
    pub fn lease(&self) -> Duration {
        Duration::from_millis(self.lock_lease_ms)
    }
}

/// Inventory accepts no larger batch.
fn batch_size(text: &str) -> Result<usize, String> {
    let size: usize = text.parse().map_err(|error| format!("{error}"))?;
    if (1..=64).contains(&size) { Ok(size) } else { Err("must be 1 to 64".to_owned()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(more: &[&str]) -> Config {
        let needed = ["order", "--database-url=postgres://x", "--inventory-urls=http://x", "--lock-nodes=redis://x"];
        Config::try_parse_from(needed.iter().chain(more)).expect("flags that parse")
    }

    #[test]
    fn the_default_token_is_refused_where_the_lab_is_off() {
        assert_eq!(config(&[]).check(), Err(ConfigError::LabToken));
        assert_eq!(config(&["--lab"]).check(), Ok(()));
        assert_eq!(config(&["--inventory-token=secret"]).check(), Ok(()));
    }

    #[test]
    fn a_default_strategy_that_can_oversell_is_refused_where_the_lab_is_off() {
        let refused = config(&["--inventory-token=secret", "--strategy=redlock"]).check();
        assert_eq!(refused, Err(ConfigError::UnsafeStrategy(Strategy::Redlock)));
        assert_eq!(config(&["--lab", "--strategy=redlock"]).check(), Ok(()));
    }
}
