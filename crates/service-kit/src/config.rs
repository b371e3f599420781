//! The flags for logs and spans, which all services share. Each service declares its
//! listen address and limits itself, under its own prefix.

use std::str::FromStr;

use axum::http::Uri;
use clap::{Args, ValueEnum};
use tracing_subscriber::EnvFilter;

/// Without the driver's lines: an outage of Postgres is logged once, by the service, not for every connection and not for
/// every statement that was slow. Nor the lines of batches.
const DEFAULT_LOG: &str =
    "info,sqlx_core::pool=error,sqlx::query=error,batch_aint_one=warn,sqlx::postgres::notice=warn";

/// The log on stderr, and the export of spans.
#[derive(Debug, Clone, Args)]
pub struct TelemetryArgs {
    /// Format of the log on stderr.
    #[arg(long, env = "LOG_FORMAT", value_enum, default_value_t = LogFormat::Text)]
    pub log_format: LogFormat,
    /// Log filter: a level, or directives such as `info,order=debug`. The default leaves out the Postgres driver's
    /// messages about single connections and slow statements.
    #[arg(long, env = "RUST_LOG", default_value = DEFAULT_LOG, value_parser = filter)]
    pub log: String,
    /// OpenTelemetry collector that receives the spans (OTLP over HTTP, protobuf), such as
    /// `http://127.0.0.1:4318`. Without it no spans are exported.
    #[arg(long, env = "HOLDFAST_OTLP_ENDPOINT")]
    pub otlp_endpoint: Option<OtlpEndpoint>,
}

impl Default for TelemetryArgs {
    fn default() -> Self {
        Self { log_format: LogFormat::Text, log: DEFAULT_LOG.to_owned(), otlp_endpoint: None }
    }
}

/// Format of the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// One line of text per event.
    Text,
    /// One line with a JSON object per event.
    Json,
}

fn filter(directives: &str) -> Result<String, String> {
    EnvFilter::try_new(directives).map(|_| directives.to_owned()).map_err(|error| error.to_string())
}

/// The address of a collector, `http://HOST:PORT`. It runs beside the service: TLS is not supported.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OtlpEndpoint(String);

impl OtlpEndpoint {
    /// The URL for spans. Source: OTLP specification, "OTLP/HTTP request".
    pub(crate) fn traces(&self) -> String {
        format!("{}/v1/traces", self.0)
    }
}

/// The endpoint is not of the form `http://HOST:PORT`.
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
    fn spans_are_posted_below_the_endpoint() {
        for endpoint in ["http://127.0.0.1:4318", "http://127.0.0.1:4318/"] {
            let endpoint: OtlpEndpoint = endpoint.parse().expect("an endpoint");
            assert_eq!(endpoint.traces(), "http://127.0.0.1:4318/v1/traces");
        }
    }

    #[test]
    fn an_endpoint_that_cannot_receive_spans_is_refused() {
        for endpoint in ["", "127.0.0.1:4318", "https://collector", "grpc://collector:4317", "http://", "http://x/?y"] {
            assert_eq!(endpoint.parse::<OtlpEndpoint>(), Err(InvalidEndpoint), "{endpoint}");
        }
    }
}
