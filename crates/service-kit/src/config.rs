//! Flags that every service has. What differs (addresses, pools, strategies) each service declares itself.

use clap::{Args, ValueEnum};

/// How the log looks and how much of it there is. It goes to stderr; stdout carries the address alone.
#[derive(Debug, Clone, Args)]
pub struct LogArgs {
    /// `text` for people, `json` for collectors
    #[arg(long, env = "LOG_FORMAT", value_enum, default_value_t = LogFormat::Text)]
    pub log_format: LogFormat,
    /// What to log, as `tracing` directives: `info`, `warn,order=debug`
    #[arg(long, env = "LOG", default_value = "info")]
    pub log: String,
}

/// The look of the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// One line an event, for people.
    Text,
    /// One JSON object an event.
    Json,
}
