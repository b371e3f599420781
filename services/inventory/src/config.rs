//! What can be configured, from flags or the environment, and what is refused.
//! Units are in the names here and nowhere else.

use std::net::SocketAddr;

use clap::Parser;
use service_kit::config::LogArgs;

/// Good for the lab only, and refused outside of it.
pub const LAB_TOKEN: &str = "lab-only-token";

/// Owns stock: snapshots, claims with fencing tokens, reservations.
#[derive(Debug, Clone, Parser)]
#[command(name = "inventory", version)]
pub struct Config {
    /// Address to listen on; port 0 picks a free one, printed on stdout.
    #[arg(long, env = "INVENTORY_LISTEN", default_value = "127.0.0.1:8081")]
    pub listen: SocketAddr,
    /// Postgres database of this service, migrated at start.
    #[arg(long, env = "INVENTORY_DATABASE_URL", hide_env_values = true)]
    pub database_url: String,
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
    /// How logs are written.
    #[command(flatten)]
    pub log: LogArgs,
}

/// Why the service does not start.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum ConfigError {
    /// Everybody knows this token.
    #[error("the default token is for the lab: set INVENTORY_TOKEN, or --lab")]
    LabToken,
}

impl Config {
    /// Refuses what must not run outside the lab.
    ///
    /// # Errors
    /// Says what to set instead.
    pub fn check(&self) -> Result<(), ConfigError> {
        if !self.lab && self.token == LAB_TOKEN { Err(ConfigError::LabToken) } else { Ok(()) }
    }
}
