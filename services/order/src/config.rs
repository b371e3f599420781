//! What can be configured, from flags or the environment, and what is refused.
//! Units are in the names here and nowhere else.

use std::{net::SocketAddr, time::Duration};

use clap::Parser;
use service_kit::config::TelemetryArgs;
use url::Url;

use crate::strategy::Strategy;

/// Good for the lab only, and refused outside of it.
pub const LAB_TOKEN: &str = "lab-only-token";

/// Takes orders: holds a distributed lock while it reads stock, decides and reserves.
#[derive(Debug, Clone, Parser)]
#[command(name = "order", version)]
pub struct Config {
    /// Address to listen on; port 0 picks a free one, printed on stdout.
    #[arg(long, env = "ORDER_LISTEN", default_value = "127.0.0.1:8080")]
    pub listen: SocketAddr,
    /// Postgres database of this service, migrated at start.
    #[arg(long, env = "ORDER_DATABASE_URL", hide_env_values = true)]
    pub database_url: String,
    /// Connections to Postgres; orders beyond that wait for one, for a second at most.
    #[arg(long, env = "ORDER_POOL", default_value_t = 16)]
    pub pool: u32,
    /// All replicas of inventory; asked in turn.
    #[arg(long, env = "ORDER_INVENTORY_URLS", value_delimiter = ',', required = true)]
    pub inventory_urls: Vec<Url>,
    /// Bearer token that inventory expects.
    #[arg(long, env = "ORDER_INVENTORY_TOKEN", default_value = LAB_TOKEN, hide_env_values = true, hide_default_value = true)]
    pub inventory_token: String,
    /// Independent Redis nodes for the lock, an odd number of redis:// URLs.
    #[arg(long, env = "ORDER_LOCK_NODES", required = true)]
    pub lock_nodes: String,
    /// Endpoints of an etcd cluster, for the strategy etcd-fenced; without them it is refused.
    #[arg(long, env = "ORDER_ETCD_ENDPOINTS")]
    pub etcd_endpoints: Option<String>,
    /// A ZooKeeper ensemble, host:port[,host:port…], for the strategy zookeeper-fenced; without it that is refused.
    #[arg(long, env = "ORDER_ZOOKEEPER")]
    pub zookeeper: Option<String>,
    /// A Postgres database, for the strategy postgres-advisory; without it that is refused. No pooler in between.
    #[arg(long, env = "ORDER_ADVISORY_URL", hide_env_values = true)]
    pub advisory_url: Option<String>,
    /// How long a lock lives without being released. Long enough for payment and
    /// reservation; it is also how long a crashed holder blocks its SKUs.
    #[arg(long, env = "ORDER_LOCK_LEASE_MS", default_value_t = 5_000)]
    pub lock_lease_ms: u64,
    /// How long an order waits for the lock before it is answered 503 lock_timeout.
    #[arg(long, env = "ORDER_LOCK_WAIT_MS", default_value_t = 10_000)]
    pub lock_wait_ms: u64,
    /// How long the simulated payment provider takes to authorise.
    #[arg(long, env = "ORDER_PAYMENT_MS", default_value_t = 2)]
    pub payment_ms: u64,
    /// How long units are set aside before the order must be confirmed.
    #[arg(long, env = "ORDER_HOLD_SECONDS", default_value_t = 900)]
    pub hold_seconds: u64,
    /// How stock is guarded where a request does not say.
    #[arg(long, env = "ORDER_STRATEGY", default_value = "redlock-fenced", value_parser = strategy)]
    pub strategy: Strategy,
    /// Lab mode: requests may choose any strategy, unsafe ones included.
    #[arg(long, env = "ORDER_LAB")]
    pub lab: bool,
    /// How often orders that a crash left half done are looked for.
    #[arg(long, env = "ORDER_RECONCILE_MS", default_value_t = 1_000)]
    pub reconcile_ms: u64,
    /// How long an idempotency key keeps its answer; after that it is a new key.
    #[arg(long, env = "ORDER_KEY_HOURS", default_value_t = 24)]
    pub key_hours: u64,
    /// Most orders that share a grant and its write, which must stay far quicker than the lease; with 1 none do.
    #[arg(long, env = "ORDER_MAX_BATCH", default_value_t = 64, value_parser = batch)]
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
    /// Requests worked on at once; more are answered 429 overloaded.
    #[arg(long, env = "ORDER_MAX_CONCURRENCY", default_value_t = 512)]
    pub max_concurrency: usize,
    /// How logs are written, and where spans are sent.
    #[command(flatten)]
    pub telemetry: TelemetryArgs,
}

/// Why the service does not start.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum ConfigError {
    /// Everybody knows this token.
    #[error("the default inventory token is for the lab: set ORDER_INVENTORY_TOKEN, or --lab")]
    LabToken,
    /// Customers would be sold what is not there.
    #[error("strategy {0} oversells: choose a safe one, or --lab")]
    UnsafeStrategy(Strategy),
}

impl Config {
    /// Refuses what must not run outside the lab.
    ///
    /// # Errors
    /// Says what to set instead.
    pub fn check(&self) -> Result<(), ConfigError> {
        match self {
            Self { lab: true, .. } => Ok(()),
            Self { inventory_token, .. } if inventory_token == LAB_TOKEN => Err(ConfigError::LabToken),
            Self { strategy, .. } if !strategy.safe() => Err(ConfigError::UnsafeStrategy(*strategy)),
            Self { .. } => Ok(()),
        }
    }

    /// [`Config::lock_lease_ms`].
    pub fn lease(&self) -> Duration {
        Duration::from_millis(self.lock_lease_ms)
    }
}

/// No more than inventory takes in one write.
fn batch(size: &str) -> Result<usize, String> {
    let size: usize = size.parse().map_err(|error| format!("{error}"))?;
    if (1..=64).contains(&size) { Ok(size) } else { Err("from 1 to 64".to_owned()) }
}

fn strategy(name: &str) -> Result<Strategy, String> {
    name.parse().map_err(|error| {
        let known = Strategy::ALL.map(Strategy::name).join(", ");
        format!("{error}; known are {known}")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(more: &[&str]) -> Config {
        let needed = ["order", "--database-url=postgres://x", "--inventory-urls=http://x", "--lock-nodes=redis://x"];
        Config::try_parse_from(needed.iter().chain(more)).expect("flags that parse")
    }

    #[test]
    fn the_token_everybody_knows_is_refused_outside_the_lab() {
        assert_eq!(config(&[]).check(), Err(ConfigError::LabToken));
        assert_eq!(config(&["--lab"]).check(), Ok(()));
        assert_eq!(config(&["--inventory-token=secret"]).check(), Ok(()));
    }

    #[test]
    fn an_unsafe_default_strategy_is_refused_outside_the_lab() {
        let refused = config(&["--inventory-token=secret", "--strategy=redlock"]).check();
        assert_eq!(refused, Err(ConfigError::UnsafeStrategy(Strategy::Redlock)));
        assert_eq!(config(&["--lab", "--strategy=redlock"]).check(), Ok(()));
    }
}
