//! Logs to stderr and metrics for Prometheus.
//! Absence: no exporter opens a port of its own; `/metrics` stands beside the other routes.

use std::sync::OnceLock;

use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};
use tracing_subscriber::EnvFilter;

use crate::config::{LogArgs, LogFormat};

/// Starts logging. A second call changes nothing.
pub fn init(args: &LogArgs) {
    let filter = EnvFilter::try_new(&args.log).unwrap_or_else(|error| {
        eprintln!(
            "--log {:?} is not understood ({error}); logging at info",
            args.log
        );
        EnvFilter::new("info")
    });
    let log = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr);
    let _already_started = match args.log_format {
        LogFormat::Text => log.with_ansi(false).try_init().is_err(),
        LogFormat::Json => log.json().flatten_event(true).try_init().is_err(),
    };
}

/// The process' metrics, rendered by `/metrics`.
///
/// # Panics
/// Another recorder was installed before.
pub fn metrics_handle() -> &'static PrometheusHandle {
    static HANDLE: OnceLock<PrometheusHandle> = OnceLock::new();
    const SECONDS: [f64; 13] = [
        0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0,
    ];
    HANDLE.get_or_init(|| {
        PrometheusBuilder::new()
            .set_buckets_for_metric(Matcher::Suffix("_seconds".to_owned()), &SECONDS)
            .and_then(PrometheusBuilder::install_recorder)
            .expect("the buckets are not empty, and this is the process' only recorder")
    })
}
