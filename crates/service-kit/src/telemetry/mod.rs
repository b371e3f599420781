//! Logs on stderr, metrics for Prometheus, spans for a collector if one is configured.
//!
//! Absence: nothing is written to stdout, which has one line, the service's address.

mod export;
mod filter;
pub mod messages;
pub(crate) mod requests;
pub mod trace;
pub(crate) mod trace_context;

use std::{
    io::{self, IsTerminal as _},
    panic,
    sync::OnceLock,
};

use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};
use tracing_subscriber::{
    EnvFilter, Layer as _, fmt, layer::SubscriberExt as _, registry, util::SubscriberInitExt as _,
};

use self::{export::SpanExport, filter::TelemetryFilter};
use crate::config::{LogFormat, TelemetryArgs};

/// Bounds of the histograms, in seconds: from the duration of a query to the longest wait of a caller.
const BUCKETS_SECONDS: [f64; 14] = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0];

/// The running telemetry; [`Telemetry::shutdown`] flushes it when the service ends.
#[derive(Debug)]
#[must_use = "spans that are queued at the end are lost unless it is shut down"]
pub struct Telemetry {
    export: Option<SpanExport>,
}

impl Telemetry {
    /// Exports the queued spans, within three seconds or not at all.
    ///
    /// # Cancel safety: the export goes on, unless the process ends first.
    pub async fn shutdown(self) {
        if let Some(export) = self.export
            && let Err(error) = tokio::task::spawn_blocking(|| export.flush()).await
        {
            tracing::debug!(%error, "spans queued at shutdown were not exported");
        }
    }
}

/// Starts logging, logs panics, and exports spans under the name `service` if `args`
/// name a collector. Later calls change nothing.
pub fn init(service: &'static str, args: &TelemetryArgs) -> Telemetry {
    metrics_handle();
    let export = args.otlp_endpoint.as_ref().and_then(|to| SpanExport::start(service, to));
    let filter = EnvFilter::try_new(&args.log).unwrap_or_else(|_| EnvFilter::new("info"));
    let filter = TelemetryFilter { log: filter, spans: export.is_some() };
    let log = fmt::layer().with_writer(io::stderr);
    let log = match args.log_format {
        LogFormat::Text => log.with_ansi(io::stderr().is_terminal()).boxed(),
        LogFormat::Json => log.json().flatten_event(true).boxed(),
    };
    let spans = export.as_ref().map(SpanExport::layer);
    let started = registry().with(filter).with(spans).with(log).try_init();
    if started.is_ok() {
        panic::set_hook(Box::new(|panic| {
            let at = panic.location().map(ToString::to_string);
            let message = panic.payload_as_str().unwrap_or("no message");
            tracing::error!(at, panic = message, "task panicked");
        }));
    }
    Telemetry { export }
}

/// The metrics recorder of this process, started on first use. `None` if another
/// recorder was installed before.
pub fn metrics_handle() -> Option<&'static PrometheusHandle> {
    static HANDLE: OnceLock<Option<PrometheusHandle>> = OnceLock::new();
    HANDLE
        .get_or_init(|| {
            PrometheusBuilder::new()
                .set_buckets_for_metric(Matcher::Suffix("_seconds".to_owned()), &BUCKETS_SECONDS)
                .and_then(PrometheusBuilder::install_recorder)
                .inspect_err(
                    |error| tracing::warn!(%error, "metrics recorder could not be installed: /metrics is answered 500"),
                )
                .ok()
        })
        .as_ref()
}
