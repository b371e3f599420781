//! What can be configured, from flags or the environment, and what is refused.
//! Units are in the names here and nowhere else.

use std::{net::SocketAddr, time::Duration};

use clap::Parser;
use fenced_lock::Locks;
use service_kit::config::TelemetryArgs;

/// Good for the lab only, and refused outside of it.
pub const LAB_TOKEN: &str = "lab-only-token";

/// Owns stock: snapshots, claims with fencing tokens, reservations.
#[derive(Debug, Clone, Parser)]
#[command(name = "inventory", version)]
pub struct Config {
    /// Address to listen on; port 0 picks a free one, printed on stdout.
    #[arg(long, env = "INVENTORY_LISTEN", default_value = "127.0.0.1:8081")]
    pub listen: SocketAddr,
    /// Postgres database of this service, as the role inventory_service or somebody who may become it.
    #[arg(long, env = "INVENTORY_DATABASE_URL", hide_env_values = true)]
    pub database_url: String,
    /// The same database as its owner or a superuser, to migrate it at start; INVENTORY_DATABASE_URL if not given.
    #[arg(long, env = "INVENTORY_MIGRATE_URL", hide_env_values = true)]
    pub migrate_url: Option<String>,
    /// Connections to Postgres; requests beyond that wait for one, for a second at most.
    #[arg(long, env = "INVENTORY_POOL", default_value_t = 16)]
    pub pool: u32,
    /// Bearer token that callers must send.
    #[arg(long, env = "INVENTORY_TOKEN", default_value = LAB_TOKEN, hide_env_values = true, hide_default_value = true)]
    pub token: String,
    /// Lab mode: unsafe strategies are accepted and writes can be paused from outside.
    #[arg(long, env = "INVENTORY_LAB")]
    pub lab: bool,
    /// Most lines in one request.
    #[arg(long, env = "INVENTORY_MAX_LINES", default_value_t = 100)]
    pub max_lines: usize,
    /// Largest request body.
    #[arg(long, env = "INVENTORY_MAX_BODY_BYTES", default_value_t = 1 << 20)]
    pub max_body_bytes: usize,
    /// Requests worked on at once; more are answered 429 overloaded.
    #[arg(long, env = "INVENTORY_MAX_CONCURRENCY", default_value_t = 1024)]
    pub max_concurrency: usize,
    /// Independent Redis nodes of the lock that orders take, an odd number of redis:// URLs; cancellations, expiry
    /// and restocks take it too. Without nodes they leave it to the fence in the database.
    #[arg(long, env = "INVENTORY_LOCK_NODES")]
    pub lock_nodes: Option<String>,
    /// How long a lock lives without being released or extended.
    #[arg(long, env = "INVENTORY_LOCK_LEASE_MS", default_value_t = 5_000)]
    pub lock_lease_ms: u64,
    /// How long a cancellation or a restock waits for the lock before it is answered 503 lock_timeout.
    #[arg(long, env = "INVENTORY_LOCK_WAIT_MS", default_value_t = 3_000)]
    pub lock_wait_ms: u64,
    /// How often holds that have ended are looked for.
    #[arg(long, env = "INVENTORY_SWEEP_MS", default_value_t = 1_000, value_parser = clap::value_parser!(u64).range(1..))]
    pub sweep_ms: u64,
    /// Holds that expire in one transaction, at most.
    #[arg(long, env = "INVENTORY_SWEEP_BATCH", default_value_t = 100, value_parser = clap::value_parser!(i64).range(1..))]
    pub sweep_batch: i64,
    /// How logs are written, and where spans are sent.
    #[command(flatten)]
    pub telemetry: TelemetryArgs,
}

/// Why the service does not start.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum ConfigError {
    /// Everybody knows this token.
    #[error("the default token is for the lab: set INVENTORY_TOKEN, or --lab")]
    LabToken,
    /// One grant must cover all the lines of a reservation.
    #[error("INVENTORY_MAX_LINES: {0} are too many, {most} are the most", most = Locks::MAX_RESOURCES)]
    MaxLines(usize),
}

impl Config {
    /// Refuses what must not run outside the lab.
    ///
    /// # Errors
    /// Says what to set instead.
    pub fn check(&self) -> Result<(), ConfigError> {
        if !self.lab && self.token == LAB_TOKEN {
            return Err(ConfigError::LabToken);
        }
        if self.max_lines > Locks::MAX_RESOURCES {
            return Err(ConfigError::MaxLines(self.max_lines));
        }
        Ok(())
    }

    /// [`Config::lock_wait_ms`].
    pub fn lock_wait(&self) -> Duration {
        Duration::from_millis(self.lock_wait_ms)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(more: &[&str]) -> Config {
        let needed = ["inventory", "--database-url=postgres://x"];
        Config::try_parse_from(needed.iter().chain(more)).expect("flags that parse")
    }

    #[test]
    fn the_token_everybody_knows_is_refused_outside_the_lab() {
        assert_eq!(config(&[]).check(), Err(ConfigError::LabToken));
        assert_eq!(config(&["--lab"]).check(), Ok(()));
        assert_eq!(config(&["--token=secret"]).check(), Ok(()));
    }

    #[test]
    fn more_lines_than_one_grant_covers_are_refused() {
        assert_eq!(config(&["--lab", "--max-lines=129"]).check(), Err(ConfigError::MaxLines(129)));
        assert_eq!(config(&["--lab", "--max-lines=128"]).check(), Ok(()));
    }
}
