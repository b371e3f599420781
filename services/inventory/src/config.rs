//! The configuration, from flags or the environment, and the values that are refused. Units are in the names here;
//! everywhere else, durations are `Duration`.

use std::{net::SocketAddr, time::Duration};

use clap::Parser;
use contract::whole_number;
use fenced_lock::Locks;
use service_kit::config::TelemetryArgs;

/// The default token. It is public, so it is refused where the lab is off.
pub const LAB_TOKEN: &str = "lab-only-token";

/// Longer than a lock node may take to answer, 200 ms.
const MIN_LEASE_MS: u64 = 400;
/// The longest lease that locks accept, a day.
const MAX_LEASE_MS: u64 = 86_400_000;
const HOUR_MS: u64 = 3_600_000;

/// Owns stock: snapshots, claims with fencing tokens, reservations
#[derive(Debug, Clone, Parser)]
#[command(name = "inventory", version)]
pub struct Config {
    /// Address to listen on; port 0 picks a free one, printed on stdout.
    #[arg(long, env = "INVENTORY_LISTEN", default_value = "127.0.0.1:8081")]
    pub listen: SocketAddr,
    /// Postgres database of this service, as the role inventory_service or a role that may become it; a pooler in between
    /// must pool sessions, not transactions.
    #[arg(long, env = "INVENTORY_DATABASE_URL", hide_env_values = true)]
    pub database_url: String,
    /// The same database as its owner or a superuser, to migrate it at start; by default INVENTORY_DATABASE_URL.
    #[arg(long, env = "INVENTORY_MIGRATE_URL", hide_env_values = true)]
    pub migrate_url: Option<String>,
    /// The most connections to Postgres, from 1 to 1000; a request waits one second for a free one, and is then answered 503.
    /// Requests for one SKU use at most an eighth of them; one that has waited a second for its turn is answered 429.
    #[arg(long, env = "INVENTORY_POOL", default_value_t = 16, value_parser = whole_number(1..=1_000_u32))]
    pub pool: u32,
    /// Bearer token that callers must send; the default is accepted only with --lab.
    #[arg(long, env = "INVENTORY_TOKEN", default_value = LAB_TOKEN, hide_env_values = true, hide_default_value = true)]
    pub token: String,
    /// Lab mode: unsafe strategies are accepted, and writes can be paused over HTTP.
    #[arg(long, env = "INVENTORY_LAB")]
    pub lab: bool,
    /// The most lines of one request, from 1 to 128: one grant of locks must cover them all.
    #[arg(long, env = "INVENTORY_MAX_LINES", default_value_t = 100, value_parser = whole_number(1..=Locks::MAX_RESOURCES))]
    pub max_lines: usize,
    /// The largest request body, in bytes, from 1 to 67108864.
    #[arg(long, env = "INVENTORY_MAX_BODY_BYTES", default_value_t = 1 << 20, value_parser = whole_number(1..=1_usize << 26))]
    pub max_body_bytes: usize,
    /// The most requests in progress at once, from 1 to 65536; more are answered 429 overloaded.
    #[arg(long, env = "INVENTORY_MAX_CONCURRENCY", default_value_t = 1024, value_parser = whole_number(1..=1_usize << 16))]
    pub max_concurrency: usize,
    /// The independent Redis nodes of the lock that orders acquire: an odd number of redis:// URLs, separated by
    /// commas. Cancellations, expiries and restocks acquire it too; without nodes, only the fence guards them.
    #[arg(long, env = "INVENTORY_LOCK_NODES")]
    pub lock_nodes: Option<String>,
    /// How long a lock lives without being released or extended, in milliseconds, from 400 to 86400000.
    #[arg(long, env = "INVENTORY_LOCK_LEASE_MS", default_value_t = 5_000, value_parser = whole_number(MIN_LEASE_MS..=MAX_LEASE_MS))]
    pub lock_lease_ms: u64,
    /// How long a cancellation or a restock waits for the lock, in milliseconds, from 0 to 3600000, before it is answered
    /// 503 lock_timeout.
    #[arg(long, env = "INVENTORY_LOCK_WAIT_MS", default_value_t = 3_000, value_parser = whole_number(0..=HOUR_MS))]
    pub lock_wait_ms: u64,
    /// The interval at which the sweeper looks for ended holds, in milliseconds, from 10 to 3600000.
    #[arg(long, env = "INVENTORY_SWEEP_MS", default_value_t = 1_000, value_parser = whole_number(10..=HOUR_MS))]
    pub sweep_ms: u64,
    /// The most holds that expire in one transaction, from 1 to 10000.
    #[arg(long, env = "INVENTORY_SWEEP_BATCH", default_value_t = 100, value_parser = whole_number(1..=10_000_i64))]
    pub sweep_batch: i64,
    /// For how many days reservations that are over, the ledger and refusals are kept, from 1 to 3650; older ones are deleted
    /// in batches. Without it, everything is kept. ORDER_RETAIN_DAYS of the order service is best the same.
    #[arg(long, env = "INVENTORY_RETAIN_DAYS", value_parser = whole_number(1..=3_650_u32))]
    pub retain_days: Option<u32>,
    /// The format of logs, and the receiver of spans.
    #[command(flatten)]
    pub telemetry: TelemetryArgs,
}

/// Why the service does not start.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum ConfigError {
    /// The token is public.
    #[error("the default token is public and allowed only in the lab: set INVENTORY_TOKEN, or --lab")]
    LabToken,
}

impl Config {
    /// Refuses values that are unsafe or cannot work.
    ///
    /// # Errors
    /// The error names the variable and an accepted value.
    pub fn check(&self) -> Result<(), ConfigError> {
        if !self.lab && self.token == LAB_TOKEN {
            return Err(ConfigError::LabToken);
        }
        Ok(())
    }

    /// [`Config::retain_days`], as a `Duration`.
    pub fn retained_for(&self) -> Option<Duration> {
        self.retain_days.map(|days| Duration::from_hours(24) * days)
    }

    /// [`Config::lock_wait_ms`], as a `Duration`.
    pub fn lock_wait(&self) -> Duration {
        Duration::from_millis(self.lock_wait_ms)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(flags: &[&str]) -> Config {
        let required = ["inventory", "--database-url=postgres://x"];
        Config::try_parse_from(required.iter().chain(flags)).expect("flags that parse")
    }

    #[test]
    fn the_default_token_is_refused_outside_the_lab() {
        assert_eq!(config(&[]).check(), Err(ConfigError::LabToken));
        assert_eq!(config(&["--lab"]).check(), Ok(()));
        assert_eq!(config(&["--token=secret"]).check(), Ok(()));
    }

    #[test]
    fn more_lines_than_one_grant_covers_are_refused() {
        let too_many = ["inventory", "--database-url=postgres://x", "--max-lines=129"];
        let refused = Config::try_parse_from(too_many).expect_err("a refusal").to_string();
        assert!(refused.contains("--max-lines") && refused.contains("from 1 to 128"), "{refused}");
        assert_eq!(config(&["--lab", "--max-lines=128"]).check(), Ok(()));
    }
}
