//! The configuration, from flags or the environment, and what is refused.
//! Units are in the names here and nowhere else.

use std::{net::SocketAddr, time::Duration};

use clap::Parser;
use contract::{Strategy, whole_number};
use fenced_lock::Locks;
use service_kit::config::TelemetryArgs;
use url::Url;

/// The default token, which is public: refused where the lab is switched off.
pub const LAB_TOKEN: &str = "lab-only-token";

/// Inventory accepts no larger batch.
const MAX_BATCH: usize = 64;
/// Inventory accepts no more units of one SKU.
const MAX_QUANTITY: i64 = 1_000_000;
/// Inventory holds units for a year at most.
const MAX_HOLD_SECONDS: u64 = 31_536_000;
/// Longer than a lock node (200 ms) or a connection to inventory (500 ms) may take.
const MIN_LEASE_MS: u64 = 600;
/// The longest lease that locks accept, a day.
const MAX_LEASE_MS: u64 = 86_400_000;
const HOUR_MS: u64 = 3_600_000;

/// Takes orders: holds a distributed lock while it reads stock, decides and reserves units.
#[derive(Debug, Clone, Parser)]
#[command(name = "order", version)]
pub struct Config {
    /// Address to listen on; port 0 picks a free one, printed on stdout.
    #[arg(long, env = "ORDER_LISTEN", default_value = "127.0.0.1:8080")]
    pub listen: SocketAddr,
    /// Postgres database of this service, migrated at start; a pooler in between must pool sessions, not transactions.
    #[arg(long, env = "ORDER_DATABASE_URL", hide_env_values = true)]
    pub database_url: String,
    /// Connections to Postgres, from 1 to 1000; a query waits up to a second for a free one.
    #[arg(long, env = "ORDER_POOL", default_value_t = 16, value_parser = whole_number(1..=1_000_u32))]
    pub pool: u32,
    /// URLs of all replicas of inventory, which are called in turn.
    #[arg(long, env = "ORDER_INVENTORY_URLS", value_delimiter = ',', required = true)]
    pub inventory_urls: Vec<Url>,
    /// Bearer token for inventory: the INVENTORY_TOKEN of its replicas.
    #[arg(long, env = "ORDER_INVENTORY_TOKEN", default_value = LAB_TOKEN, hide_env_values = true, hide_default_value = true)]
    pub inventory_token: String,
    /// Independent Redis nodes of the lock: an odd number of redis:// URLs, each of another server. Where cluster mode is
    /// enabled, each node must have all hash slots.
    #[arg(long, env = "ORDER_LOCK_NODES", required = true)]
    pub lock_nodes: String,
    /// Endpoints of an etcd cluster, required by the strategy etcd-fenced.
    #[arg(long, env = "ORDER_ETCD_ENDPOINTS")]
    pub etcd_endpoints: Option<String>,
    /// ZooKeeper ensemble, host:port[,host:port…], required by the strategy zookeeper-fenced.
    #[arg(long, env = "ORDER_ZOOKEEPER")]
    pub zookeeper: Option<String>,
    /// Postgres database for advisory locks, without a transaction pooler in between; required by the strategy postgres-advisory.
    #[arg(long, env = "ORDER_ADVISORY_URL", hide_env_values = true)]
    pub advisory_url: Option<String>,
    /// Lease of the lock in milliseconds, from 600 to 86400000. Long enough for the calls to inventory; while a payment
    /// is under way it is extended. A crashed holder blocks its SKUs for as long.
    #[arg(long, env = "ORDER_LOCK_LEASE_MS", default_value_t = 5_000, value_parser = whole_number(MIN_LEASE_MS..=MAX_LEASE_MS))]
    pub lock_lease_ms: u64,
    /// How long an order waits for the lock before it is answered 503 lock_timeout, in milliseconds, from 0 to 3600000.
    #[arg(long, env = "ORDER_LOCK_WAIT_MS", default_value_t = 10_000, value_parser = whole_number(0..=HOUR_MS))]
    pub lock_wait_ms: u64,
    /// How long the simulated payment provider takes to authorise, in milliseconds, from 0 to 3600000. Outside the lab
    /// it must be shorter than ORDER_PAYMENT_TIMEOUT_MS.
    #[arg(long, env = "ORDER_PAYMENT_MS", default_value_t = 2, value_parser = whole_number(0..=HOUR_MS))]
    pub payment_ms: u64,
    /// How long an order waits for the authorisation of its payment, in milliseconds, from 1 to 3600000; then it is
    /// answered 503 payment_timeout. The SKUs stay locked meanwhile.
    #[arg(long, env = "ORDER_PAYMENT_TIMEOUT_MS", default_value_t = 30_000, value_parser = whole_number(1..=HOUR_MS))]
    pub payment_timeout_ms: u64,
    /// How long units are held for an order until it is confirmed, in seconds, from 1 to 31536000.
    #[arg(long, env = "ORDER_HOLD_SECONDS", default_value_t = 900, value_parser = whole_number(1..=MAX_HOLD_SECONDS))]
    pub hold_seconds: u64,
    /// How stock is guarded if a request names no strategy.
    #[arg(long, env = "ORDER_STRATEGY", default_value = "redlock-fenced", value_enum)]
    pub strategy: Strategy,
    /// Switches the lab on: requests may name strategies that can oversell, and replicas can be paused over HTTP.
    #[arg(long, env = "ORDER_LAB")]
    pub lab: bool,
    /// How often pending orders that a crash left behind are reconciled: the pause in milliseconds, from 10 to 3600000.
    #[arg(long, env = "ORDER_RECONCILE_MS", default_value_t = 1_000, value_parser = whole_number(10..=HOUR_MS))]
    pub reconcile_ms: u64,
    /// How long an idempotency key keeps its answer, in hours, from 1 to 8760; afterwards the same key means a new order.
    /// An order, which takes the wait for the lock, the payment's time and the lease at most, must end sooner.
    #[arg(long, env = "ORDER_KEY_HOURS", default_value_t = 24, value_parser = whole_number(1..=8_760_u64))]
    pub key_hours: u64,
    /// For how many days orders that are over are kept, from 1 to 3650, and longer than their keys; older ones are deleted in
    /// batches, with their payments. Without it, all are kept. INVENTORY_RETAIN_DAYS of inventory is best the same.
    #[arg(long, env = "ORDER_RETAIN_DAYS", value_parser = whole_number(1..=3_650_u32))]
    pub retain_days: Option<u32>,
    /// Most orders that share a grant and its write, from 1 to 64; with 1, none do. The write must stay far
    /// shorter than the lease.
    #[arg(long, env = "ORDER_MAX_BATCH", default_value_t = 64, value_parser = whole_number(1..=MAX_BATCH))]
    pub max_batch: usize,
    /// Most lines in one order, from 1 to 128.
    #[arg(long, env = "ORDER_MAX_LINES", default_value_t = 100, value_parser = whole_number(1..=Locks::MAX_RESOURCES))]
    pub max_lines: usize,
    /// Most units of one SKU in one order, from 1 to 1000000.
    #[arg(long, env = "ORDER_MAX_QUANTITY", default_value_t = MAX_QUANTITY, value_parser = whole_number(1..=MAX_QUANTITY))]
    pub max_quantity: i64,
    /// Largest request body in bytes, from 1 to 67108864.
    #[arg(long, env = "ORDER_MAX_BODY_BYTES", default_value_t = 1 << 20, value_parser = whole_number(1..=1_usize << 26))]
    pub max_body_bytes: usize,
    /// Most requests in progress, from 1 to 65536; more are answered 429 overloaded. Orders of one SKU are at most
    /// three quarters of them.
    #[arg(long, env = "ORDER_MAX_CONCURRENCY", default_value_t = 512, value_parser = whole_number(1..=1_usize << 16))]
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
    /// No payment would be authorised in time.
    #[error("ORDER_PAYMENT_MS={payment} is not shorter than ORDER_PAYMENT_TIMEOUT_MS={limit}: every order would fail")]
    PaymentOutlastsLimit {
        /// Milliseconds.
        payment: u64,
        /// Milliseconds.
        limit: u64,
    },
    /// The key would be forgotten while its order is in progress.
    #[error(
        "ORDER_KEY_HOURS={hours} is not longer than an order may take: \
         ORDER_LOCK_WAIT_MS={wait}, ORDER_PAYMENT_TIMEOUT_MS={limit} and ORDER_LOCK_LEASE_MS={lease} together"
    )]
    OrderOutlastsKey {
        /// Hours.
        hours: u64,
        /// Milliseconds.
        wait: u64,
        /// Milliseconds.
        limit: u64,
        /// Milliseconds.
        lease: u64,
    },
    /// An order's key would outlive it.
    #[error(
        "ORDER_RETAIN_DAYS={days} is not longer than ORDER_KEY_HOURS={hours}: an order is kept longer than its key"
    )]
    KeyOutlastsRetention {
        /// Days.
        days: u32,
        /// Hours.
        hours: u64,
    },
}

impl Config {
    /// Refuses a configuration that is safe only in a lab, and numbers that cannot work together.
    ///
    /// # Errors
    /// Names what to set instead.
    pub fn check(&self) -> Result<(), ConfigError> {
        let Self { key_hours: hours, lock_wait_ms: wait, lock_lease_ms: lease, .. } = *self;
        let Self { payment_ms: payment, payment_timeout_ms: limit, .. } = *self;
        if hours.saturating_mul(HOUR_MS) <= wait + limit + lease {
            return Err(ConfigError::OrderOutlastsKey { hours, wait, limit, lease });
        }
        if let Some(days) = self.retain_days.filter(|days| u64::from(*days) * 24 <= hours) {
            return Err(ConfigError::KeyOutlastsRetention { days, hours });
        }
        match self {
            Self { lab: true, .. } => Ok(()),
            Self { inventory_token, .. } if inventory_token == LAB_TOKEN => Err(ConfigError::LabToken),
            Self { strategy, .. } if !strategy.is_safe() => Err(ConfigError::UnsafeStrategy(*strategy)),
            // In the lab, payments are made to fail.
            Self { .. } if payment >= limit => Err(ConfigError::PaymentOutlastsLimit { payment, limit }),
            Self { .. } => Ok(()),
        }
    }

    /// [`Config::retain_days`].
    pub fn retained_for(&self) -> Option<Duration> {
        self.retain_days.map(|days| Duration::from_hours(24) * days)
    }

    /// [`Config::lock_lease_ms`].
    pub fn lease(&self) -> Duration {
        Duration::from_millis(self.lock_lease_ms)
    }
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
