//! The flags that every service has. Each service declares its own listen
//! address and limits, under its own prefix; only what is told about its work
//! is the same for all.

use std::str::FromStr;

use axum::http::Uri;
use clap::{Args, ValueEnum};
use tracing_subscriber::EnvFilter;

/// A database that is away is said once, by the service; not once a connection.
const DEFAULT_LOG: &str = "info,sqlx_core::pool=error,sqlx::postgres::notice=warn";

/// How logs are written, to stderr, always; and where spans are sent, if anywhere.
#[derive(Debug, Clone, Args)]
pub struct TelemetryArgs {
    /// Shape of the log on stderr.
    #[arg(long, env = "LOG_FORMAT", value_enum, default_value_t = LogFormat::Text)]
    pub log_format: LogFormat,
    /// What is logged: a level, or directives such as `info,order=debug`. The default leaves out what the driver of
    /// Postgres says of single connections.
    #[arg(long, env = "RUST_LOG", default_value = DEFAULT_LOG, value_parser = filter)]
    pub log: String,
    /// An OpenTelemetry collector that spans are sent to (OTLP over HTTP, protobuf), such as
    /// `http://127.0.0.1:4318`; without it none are.
    #[arg(long, env = "HOLDFAST_OTLP_ENDPOINT")]
    pub otlp_endpoint: Option<OtlpEndpoint>,
}

impl Default for TelemetryArgs {
    fn default() -> Self {
        Self { log_format: LogFormat::Text, log: DEFAULT_LOG.to_owned(), otlp_endpoint: None }
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

/// A collector, as `http://HOST:PORT`. It stands beside the service: no TLS is spoken with it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OtlpEndpoint(String);

impl OtlpEndpoint {
    /// Where traces go. Source: OTLP specification, "OTLP/HTTP request".
    pub(crate) fn traces(&self) -> String {
        format!("{}/v1/traces", self.0)
    }
}

/// Why an endpoint is refused.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("not of the form http://HOST:PORT")]
pub struct InvalidEndpoint;

impl FromStr for OtlpEndpoint {
    type Err = InvalidEndpoint;

    fn from_str(endpoint: &str) -> Result<Self, InvalidEndpoint> {
        let uri: Uri = endpoint.parse().map_err(|_| InvalidEndpoint)?;
        let plain = uri.scheme_str() == Some("http") && uri.host().is_some() && uri.query().is_none();
        if plain { Ok(Self(endpoint.trim_end_matches('/').to_owned())) } else { Err(InvalidEndpoint) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn traces_go_below_the_endpoint() {
        for endpoint in ["http://127.0.0.1:4318", "http://127.0.0.1:4318/"] {
            let endpoint: OtlpEndpoint = endpoint.parse().expect("an endpoint");
            assert_eq!(endpoint.traces(), "http://127.0.0.1:4318/v1/traces");
        }
    }

    #[test]
    fn what_no_span_could_be_sent_to_is_refused() {
        for endpoint in ["", "127.0.0.1:4318", "https://collector", "grpc://collector:4317", "http://", "http://x/?y"] {
            assert_eq!(endpoint.parse::<OtlpEndpoint>(), Err(InvalidEndpoint), "{endpoint}");
        }
    }
}
