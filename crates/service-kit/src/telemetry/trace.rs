//! Which request is at work, so that logs, problems and calls to others can say
//! so: W3C trace context in, the same trace out. `tracestate` is not carried.

use std::{future::Future, sync::Arc};

use axum::{
    extract::{OriginalUri, Request},
    http::HeaderMap,
    middleware::Next,
    response::Response,
};
use tracing::{Instrument as _, Span, field::Empty};

use crate::telemetry::{export, traceparent::TraceContext};

const TRACEPARENT: &str = "traceparent";

tokio::task_local! {
    static CURRENT: Current;
}

/// What a task knows about the request it works for.
#[derive(Debug, Clone)]
struct Current {
    context: TraceContext,
    path: Arc<str>,
}

/// The `traceparent` header to send with calls made for this request; its span
/// is the one at work, or that of the request. `None` outside of a request: a
/// task that was spawned is outside, unless by [`in_current_trace`].
pub fn current_traceparent() -> Option<String> {
    let at_work = export::span_context(&Span::current());
    let of_request = || CURRENT.try_with(|current| current.context).ok();
    at_work.or_else(of_request).map(|context| context.to_string())
}

/// 32 lower-case hex digits; `None` as for [`current_traceparent`].
pub fn current_trace_id() -> Option<String> {
    CURRENT.try_with(|current| current.context.trace_id()).ok()
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
        async move {
            match self.current {
                Some(current) => CURRENT.scope(current, work).await,
                None => work.await,
            }
        }
    }

    /// Links `span` to this request's span: the work of `span` is done for this request, too.
    pub fn link_from(&self, span: &Span) {
        span.follows_from(&self.span);
    }
}

/// Opens a span for the request, in the caller's trace if it named one.
pub(crate) async fn middleware(request: Request, next: Next) -> Response {
    let path: Arc<str> = match request.extensions().get::<OriginalUri>() {
        Some(OriginalUri(uri)) => uri.path().into(),
        None => request.uri().path().into(),
    };
    let span = tracing::info_span!(
        "request",
        otel.kind = export::is_enabled().then_some("server"),
        method = %request.method(),
        path = %path,
        trace_id = Empty,
        span_id = Empty,
    );
    let caller = incoming(request.headers());
    let ours = || caller.map_or_else(TraceContext::new, TraceContext::child);
    let context = export::set_parent(&span, caller).unwrap_or_else(ours);
    tracing::record_all!(span, trace_id = %context.trace_id(), span_id = %context.span_id());
    let answering = CURRENT.scope(Current { context, path }, next.run(request)).instrument(span.clone());
    let response = answering.await;
    export::record_status(&span, response.status().as_u16());
    response
}

/// Two of them are as good as none (W3C Trace Context, 3.2.2).
fn incoming(headers: &HeaderMap) -> Option<TraceContext> {
    let mut all = headers.get_all(TRACEPARENT).iter();
    let only = all.next().filter(|_| all.next().is_none())?;
    TraceContext::parse(only.to_str().ok()?)
}
