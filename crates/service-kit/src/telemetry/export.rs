//! Spans, sent to an OpenTelemetry collector over OTLP/HTTP where one is named.
//! A span of a request has the very ids that its logs, its problems and the
//! calls made for it have.
//!
//! Invariant: no request waits for the collector. Spans queue up to a limit and
//! are sent by a thread of their own; what is too much, or cannot be sent, is lost.
//! Absence: who records a trace is the caller's decision; only one that begins
//! here is always recorded.

use std::{
    num::{NonZeroU64, NonZeroU128},
    sync::{
        OnceLock,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Duration,
};

use opentelemetry::{
    Context, KeyValue,
    trace::{SpanContext, SpanId, TraceContextExt as _, TraceFlags, TraceId, TraceState, TracerProvider as _},
};
use opentelemetry_otlp::{RetryPolicy, WithExportConfig as _, WithHttpConfig as _};
use opentelemetry_sdk::{
    Resource,
    error::OTelSdkResult,
    trace::{SdkTracerProvider, SpanData, SpanExporter},
};
use tracing::Span;
use tracing_opentelemetry::{OpenTelemetryLayer, OpenTelemetrySpanExt as _};
use tracing_subscriber::Layer;

use super::{filter::FilteredRegistry, traceparent::TraceContext};
use crate::config::OtlpEndpoint;

/// A collector that takes longer has lost the batch; the next one tries again.
const SEND_TIMEOUT: Duration = Duration::from_secs(2);
/// What is still queued when the service ends gets this long.
const FLUSH_TIMEOUT: Duration = Duration::from_secs(3);

static ENABLED: OnceLock<()> = OnceLock::new();

/// Whether spans leave this process.
pub(crate) fn is_enabled() -> bool {
    ENABLED.get().is_some()
}

/// Sends what is queued when the service ends.
#[derive(Debug)]
pub(crate) struct SpanExport(SdkTracerProvider);

impl SpanExport {
    /// `None`, and logged, if nothing can be sent at all.
    pub(crate) fn start(service: &'static str, to: &OtlpEndpoint) -> Option<Self> {
        let exporter = exporter(to).inspect_err(|error| tracing::warn!(error, "no spans will be sent")).ok()?;
        let resource = Resource::builder()
            .with_service_name(service)
            .with_attribute(KeyValue::new("service.instance.id", i64::from(std::process::id())))
            .build();
        let exporter = CountingExporter { exporter, lost: AtomicBool::new(false) };
        let provider = SdkTracerProvider::builder().with_resource(resource).with_batch_exporter(exporter).build();
        Some(Self(provider))
    }

    /// What is logged while a span is at work goes with it.
    pub(crate) fn layer(&self) -> impl Layer<FilteredRegistry> + use<> {
        let _first = ENABLED.set(());
        OpenTelemetryLayer::<FilteredRegistry, _>::new(self.0.tracer("holdfast"))
            .with_context_activation(false)
            .with_location(false)
            .with_threads(false)
            .with_target(false)
    }

    /// Blocks, and for [`FLUSH_TIMEOUT`] at most.
    pub(crate) fn flush(self) {
        if let Err(error) = self.0.shutdown_with_timeout(FLUSH_TIMEOUT) {
            tracing::debug!(%error, "the last spans were not sent");
        }
    }
}

/// The client blocks, so it must not be made among asynchronous work.
fn exporter(to: &OtlpEndpoint) -> Result<opentelemetry_otlp::SpanExporter, String> {
    let client = || reqwest::blocking::Client::builder().no_proxy().timeout(SEND_TIMEOUT).build();
    let client = thread::spawn(client).join().map_err(|_panic| "no HTTP client".to_owned())?;
    opentelemetry_otlp::SpanExporter::builder()
        .with_http()
        .with_http_client(client.map_err(|error| error.to_string())?)
        .with_endpoint(to.traces())
        .with_timeout(SEND_TIMEOUT)
        .with_retry_policy(RetryPolicy::disabled())
        .build()
        .map_err(|error| error.to_string())
}

/// Says once that the collector is away, and once that it is back.
#[derive(Debug)]
struct CountingExporter {
    exporter: opentelemetry_otlp::SpanExporter,
    lost: AtomicBool,
}

impl SpanExporter for CountingExporter {
    async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
        let spans = u64::try_from(batch.len()).unwrap_or(u64::MAX);
        let sent = self.exporter.export(batch).await;
        let outcome = if sent.is_ok() { "sent" } else { "lost" };
        metrics::counter!("otlp_spans_total", "outcome" => outcome).increment(spans);
        match (&sent, self.lost.swap(sent.is_err(), Ordering::Relaxed)) {
            (Err(error), false) => tracing::warn!(%error, "the collector takes no spans; they are lost until it does"),
            (Ok(()), true) => tracing::info!("the collector takes spans again"),
            (Err(_), true) | (Ok(()), false) => {}
        }
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

/// Puts a span that was just opened into the caller's trace. `None` if spans
/// do not leave this process: then nobody has given it ids.
pub(crate) fn set_parent(span: &Span, caller: Option<TraceContext>) -> Option<TraceContext> {
    if !is_enabled() {
        return None;
    }
    if let Some(caller) = caller {
        let (trace, of) = (TraceId::from(caller.trace_id.get()), SpanId::from(caller.span_id.get()));
        let caller = SpanContext::new(trace, of, TraceFlags::new(caller.flags), true, TraceState::default());
        let _just_opened = span.set_parent(Context::new().with_remote_span_context(caller));
    }
    span_context(span)
}

/// The ids of a span, if it has any.
pub(crate) fn span_context(span: &Span) -> Option<TraceContext> {
    if !is_enabled() {
        return None;
    }
    let context = span.context();
    let context = context.span().span_context().clone();
    Some(TraceContext {
        trace_id: NonZeroU128::new(u128::from_be_bytes(context.trace_id().to_bytes()))?,
        span_id: NonZeroU64::new(u64::from_be_bytes(context.span_id().to_bytes()))?,
        flags: context.trace_flags().to_u8(),
    })
}

/// Names the span after its route, as collectors group them.
pub(crate) fn name_after_route(span: &Span, method: &str, route: &str) {
    if is_enabled() {
        span.context().span().update_name(format!("{method} {route}"));
        span.set_attribute("http.request.method", method.to_owned());
        span.set_attribute("http.route", route.to_owned());
    }
}

/// What came of the request; a failure of ours is one of the span, too.
pub(crate) fn record_status(span: &Span, status: u16) {
    if is_enabled() {
        span.set_attribute("http.response.status_code", i64::from(status));
        if status >= 500 {
            span.set_status(opentelemetry::trace::Status::error(""));
        }
    }
}
