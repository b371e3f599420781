//! Which request is at work, so that logs, problems and calls to others can say
//! so: W3C trace context in, the same trace out. `tracestate` is not carried.

use std::{future::Future, sync::Arc};

use axum::{
    extract::{OriginalUri, Request},
    http::HeaderMap,
    middleware::Next,
    response::Response,
};
use tracing::Instrument as _;

use crate::traceparent::TraceContext;

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
/// is the one this service works in. `None` outside of a request: a task that
/// was spawned is outside, unless by [`carry`].
pub fn current_traceparent() -> Option<String> {
    CURRENT.try_with(|current| current.context.to_string()).ok()
}

/// 32 lower-case hex digits; `None` as for [`current_traceparent`].
pub fn current_trace_id() -> Option<String> {
    CURRENT.try_with(|current| current.context.trace_id()).ok()
}

pub(crate) fn current_path() -> Option<Arc<str>> {
    CURRENT.try_with(|current| Arc::clone(&current.path)).ok()
}

/// Takes the request of the caller along into `work`, which may then be spawned:
/// its logs, problems and calls belong to the same trace. Captured when called,
/// not when polled.
///
/// # Cancel safety: that of `work`.
pub fn carry<T>(work: impl Future<Output = T>) -> impl Future<Output = T> {
    let current = CURRENT.try_with(Clone::clone).ok();
    let work = work.in_current_span();
    async move {
        match current {
            Some(current) => CURRENT.scope(current, work).await,
            None => work.await,
        }
    }
}

/// Opens a span for the request, in the caller's trace if it named one.
pub(crate) async fn middleware(request: Request, next: Next) -> Response {
    let context = incoming(request.headers()).map_or_else(TraceContext::new, TraceContext::child);
    let path: Arc<str> = match request.extensions().get::<OriginalUri>() {
        Some(OriginalUri(uri)) => uri.path().into(),
        None => request.uri().path().into(),
    };
    let span = tracing::info_span!(
        "request",
        method = %request.method(),
        path = %path,
        trace_id = %context.trace_id(),
        span_id = %context.span_id(),
    );
    CURRENT.scope(Current { context, path }, next.run(request)).instrument(span).await
}

/// Two of them are as good as none (W3C Trace Context, 3.2.2).
fn incoming(headers: &HeaderMap) -> Option<TraceContext> {
    let mut all = headers.get_all(TRACEPARENT).iter();
    let only = all.next().filter(|_| all.next().is_none())?;
    TraceContext::parse(only.to_str().ok()?)
}
