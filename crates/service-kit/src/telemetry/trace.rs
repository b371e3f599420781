//! The trace of the request that a task works for: logs, problems and calls to
//! other services carry its id. W3C trace context comes in with the request and
//! goes out with its calls.

use std::{future::Future, sync::Arc};

use axum::{extract::Request, middleware::Next, response::Response};
use futures_util::future::Either;
use opentelemetry::trace::SpanContext;
use tracing::{Instrument as _, Span, field::Empty};

use crate::telemetry::{export, trace_context};

tokio::task_local! {
    static CURRENT: Current;
}

/// The request of a task: the span that answers it, and its path.
#[derive(Debug, Clone)]
struct Current {
    span: SpanContext,
    path: Arc<str>,
}

/// The `traceparent` header to send with calls made for this request. It names
/// the innermost span if spans are exported, otherwise that of the request.
/// `None` outside of a request: a spawned task is outside, unless it was wrapped
/// by [`in_current_trace`].
pub fn current_traceparent() -> Option<String> {
    let of_request = || CURRENT.try_with(|current| current.span.clone()).ok();
    export::span_context(&Span::current()).or_else(of_request).and_then(trace_context::traceparent)
}

/// 32 lower-case hex digits; `None` as for [`current_traceparent`].
pub fn current_trace_id() -> Option<String> {
    CURRENT.try_with(|current| current.span.trace_id().to_string()).ok()
}

pub(crate) fn current_path() -> Option<Arc<str>> {
    CURRENT.try_with(|current| Arc::clone(&current.path)).ok()
}

/// `work`, run as part of the caller's request although it may be spawned: its
/// logs, problems and calls belong to the same trace. The request is captured by
/// this call, not at the first poll.
///
/// # Cancel safety: that of `work`.
pub fn in_current_trace<T>(work: impl Future<Output = T>) -> impl Future<Output = T> {
    Trace::current().instrument(work)
}

/// The request that a task works for, kept for work that is done later or in
/// another task. Empty when captured outside of a request.
#[derive(Debug, Clone)]
pub struct Trace {
    current: Option<Current>,
    span: Span,
}

impl Trace {
    /// The request of the caller.
    pub fn current() -> Self {
        Self { current: CURRENT.try_with(Clone::clone).ok(), span: Span::current() }
    }

    /// As [`in_current_trace`], for the request that was current when this was captured.
    ///
    /// # Cancel safety: that of `work`.
    pub fn instrument<T>(self, work: impl Future<Output = T>) -> impl Future<Output = T> {
        let work = work.instrument(self.span);
        match self.current {
            Some(current) => Either::Left(CURRENT.scope(current, work)),
            None => Either::Right(work),
        }
    }

    /// Links `span` to this request's span: the work of `span` is done for this request, too.
    pub fn link_from(&self, span: &Span) {
        span.follows_from(&self.span);
    }
}

/// Opens a span for the request, in the trace of the caller if it sent one.
pub(crate) async fn middleware(request: Request, next: Next) -> Response {
    let path: Arc<str> = request.uri().path().into();
    let span = tracing::info_span!(
        "request",
        otel.kind = export::is_enabled().then_some("server"),
        method = %request.method(),
        path = %path,
        trace_id = Empty,
        span_id = Empty,
    );
    let caller = trace_context::extract(request.headers());
    let ids = export::set_parent(&span, caller.as_ref()).unwrap_or_else(|| trace_context::new_span(caller.as_ref()));
    tracing::record_all!(span, trace_id = %ids.trace_id(), span_id = %ids.span_id());
    let answering = CURRENT.scope(Current { span: ids, path }, next.run(request)).instrument(span.clone());
    let response = answering.await;
    export::record_status(&span, response.status().as_u16());
    response
}
