//! Export of spans to an OpenTelemetry collector over OTLP/HTTP, where one is
//! configured. A request's span has the same ids as its logs, its problems and
//! the calls made for it.
//!
//! Invariant: no request waits for the collector. Spans are queued up to a limit
//! and sent by a thread of their own; spans beyond the limit, or in a batch that
//! cannot be sent, are lost.
//! Absence: no sampling. The caller decides whether its trace is recorded; a trace
//! that begins here is always recorded.

use std::{sync::OnceLock, thread, time::Duration};

use failure_kind::FailureKind;
use opentelemetry::{
    Context, KeyValue,
    trace::{SpanContext, TraceContextExt as _, TracerProvider as _},
};
use opentelemetry_otlp::{RetryPolicy, WithExportConfig as _, WithHttpConfig as _};
use opentelemetry_sdk::{
    Resource,
    error::{OTelSdkError, OTelSdkResult},
    trace::{SdkTracerProvider, SpanData, SpanExporter},
};
use tracing::Span;
use tracing_opentelemetry::{OpenTelemetryLayer, OpenTelemetrySpanExt as _};
use tracing_subscriber::Layer;

use crate::{config::OtlpEndpoint, outage::Outage, telemetry::filter::FilteredRegistry};

/// A batch that takes longer is lost; the next one is sent all the same.
const SEND_TIMEOUT: Duration = Duration::from_secs(2);
/// For the spans that are still queued when the service ends.
const FLUSH_TIMEOUT: Duration = Duration::from_secs(3);

static ENABLED: OnceLock<()> = OnceLock::new();

/// Whether spans leave this process.
pub(crate) fn is_enabled() -> bool {
    ENABLED.get().is_some()
}

/// The running export.
#[derive(Debug)]
pub(crate) struct SpanExport(SdkTracerProvider);

impl SpanExport {
    /// `None`, and a warning in the log, if no client can be made.
    pub(crate) fn start(service: &'static str, to: &OtlpEndpoint) -> Option<Self> {
        let exporter = exporter(to)
            .inspect_err(|error| tracing::warn!(error, "span exporter could not be created: no spans are exported"))
            .ok()?;
        let resource = Resource::builder()
            .with_service_name(service)
            .with_attribute(KeyValue::new("service.instance.id", i64::from(std::process::id())))
            .build();
        let collector = Outage::with_effect("OpenTelemetry collector", "spans are lost");
        let exporter = CountingExporter { exporter, collector };
        let provider = SdkTracerProvider::builder().with_resource(resource).with_batch_exporter(exporter).build();
        Some(Self(provider))
    }

    /// The layer that exports every span, with the events logged inside it.
    pub(crate) fn layer(&self) -> impl Layer<FilteredRegistry> + use<> {
        let _first = ENABLED.set(());
        OpenTelemetryLayer::<FilteredRegistry, _>::new(self.0.tracer("holdfast"))
            .with_context_activation(false)
            .with_location(false)
            .with_threads(false)
            .with_target(false)
    }

    /// Sends what is queued. Blocks for at most [`FLUSH_TIMEOUT`].
    pub(crate) fn flush(self) {
        if let Err(error) = self.0.shutdown_with_timeout(FLUSH_TIMEOUT) {
            tracing::debug!(%error, "spans queued at shutdown were not exported");
        }
    }
}

/// The client blocks, so it must not be created on an async thread.
fn exporter(to: &OtlpEndpoint) -> Result<opentelemetry_otlp::SpanExporter, String> {
    let client = || reqwest::blocking::Client::builder().no_proxy().timeout(SEND_TIMEOUT).build();
    let client = thread::spawn(client).join().map_err(|_panic| "the HTTP client panicked".to_owned())?;
    opentelemetry_otlp::SpanExporter::builder()
        .with_http()
        .with_http_client(client.map_err(|error| error.to_string())?)
        .with_endpoint(to.traces())
        .with_timeout(SEND_TIMEOUT)
        .with_retry_policy(RetryPolicy::disabled())
        .build()
        .map_err(|error| error.to_string())
}

/// Counts the spans that were sent and lost, and logs outages of the collector.
#[derive(Debug)]
struct CountingExporter {
    exporter: opentelemetry_otlp::SpanExporter,
    collector: Outage,
}

impl SpanExporter for CountingExporter {
    async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
        let spans = u64::try_from(batch.len()).unwrap_or(u64::MAX);
        let sent = self.exporter.export(batch).await;
        let outcome = match &sent {
            Ok(()) => {
                self.collector.record_success();
                "sent"
            }
            Err(error) => {
                let kind = match error {
                    OTelSdkError::Timeout(_) => FailureKind::Silent,
                    _ => FailureKind::Unreachable,
                };
                self.collector.record_failure(kind, error);
                "lost"
            }
        };
        metrics::counter!("otlp_spans_total", "outcome" => outcome).increment(spans);
        sent
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.exporter.shutdown_with_timeout(timeout)
    }

    fn force_flush(&self) -> OTelSdkResult {
        self.exporter.force_flush()
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.exporter.set_resource(resource);
    }
}

/// Puts a span that was just opened into the caller's trace and returns its ids.
/// `None` if spans are not exported: then a span has no ids.
pub(crate) fn set_parent(span: &Span, caller: Option<&SpanContext>) -> Option<SpanContext> {
    if !is_enabled() {
        return None;
    }
    if let Some(caller) = caller {
        let _only_fails_once_started = span.set_parent(Context::new().with_remote_span_context(caller.clone()));
    }
    span_context(span)
}

/// The ids of a span. `None` if spans are not exported, and for no span.
pub(crate) fn span_context(span: &Span) -> Option<SpanContext> {
    if !is_enabled() {
        return None;
    }
    let context = span.context();
    let ids = context.span().span_context().clone();
    ids.is_valid().then_some(ids)
}

/// Names the span after its method and route: collectors group spans by name.
pub(crate) fn name_after_route(span: &Span, method: &str, route: &str) {
    if is_enabled() {
        span.context().span().update_name(format!("{method} {route}"));
        span.set_attribute("http.request.method", method.to_owned());
        span.set_attribute("http.route", route.to_owned());
    }
}

/// Records the status of the response. A status of 500 and above marks the span as failed.
pub(crate) fn record_status(span: &Span, status: u16) {
    if is_enabled() {
        span.set_attribute("http.response.status_code", i64::from(status));
        if status >= 500 {
            span.set_status(opentelemetry::trace::Status::error(""));
        }
    }
}
