//! The flags that every service has. Each service declares its own listen
//! address and limits, under its own prefix; only logging is the same for all.

use clap::{Args, ValueEnum};
use tracing_subscriber::EnvFilter;

/// How logs are written; to stderr, always.
#[derive(Debug, Clone, Args)]
pub struct LogArgs {
    /// Shape of the log on stderr.
    #[arg(long, env = "LOG_FORMAT", value_enum, default_value_t = LogFormat::Text)]
    pub log_format: LogFormat,
    /// What is logged: a level, or directives such as `info,order=debug`.
    #[arg(long, env = "RUST_LOG", default_value = "info", value_parser = filter)]
    pub log: String,
}

impl Default for LogArgs {
    fn default() -> Self {
        Self { log_format: LogFormat::Text, log: "info".to_owned() }
    }
}

/// Shape of the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// One line for people.
    Text,
    /// One JSON object a line, for machines.
    Json,
}

fn filter(directives: &str) -> Result<String, String> {
    EnvFilter::try_new(directives).map(|_| directives.to_owned()).map_err(|error| error.to_string())
}
