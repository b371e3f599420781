//! W3C trace context: taken from the caller or begun here, shown in logs and problems, passed on.
//! Source: W3C Trace Context, <https://www.w3.org/TR/trace-context/>. Absence: no exporter.

use std::{future::Future, time::Instant};

use axum::{
    extract::{MatchedPath, Request},
    middleware::Next,
    response::Response,
};
use tracing::Instrument;
use uuid::Uuid;

tokio::task_local! {
    static CURRENT: Trace;
}

#[derive(Debug, Clone)]
struct Trace {
    id: String,
    flags: String,
    path: String,
}

impl Trace {
    fn of(request: &Request) -> Self {
        let path = request.uri().path().to_owned();
        let header = request
            .headers()
            .get("traceparent")
            .and_then(|v| v.to_str().ok());
        match header.and_then(parse) {
            Some((id, flags)) => Self { id, flags, path },
            None => Self {
                id: Uuid::new_v4().simple().to_string(),
                flags: "01".to_owned(),
                path,
            },
        }
    }
}

/// `00-{32 hex}-{16 hex}-{2 hex}`, neither id all zeros; anything else begins a new trace.
fn parse(header: &str) -> Option<(String, String)> {
    let hex = |part: &str, length| {
        part.len() == length && part.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
    };
    let parts: Vec<_> = header.trim().split('-').collect();
    let [version, id, parent, flags, later @ ..] = parts.as_slice() else {
        return None;
    };
    let known = hex(version, 2) && *version != "ff" && (*version != "00" || later.is_empty());
    let sound = hex(id, 32) && hex(parent, 16) && hex(flags, 2);
    let zeros = |part: &str| part.bytes().all(|b| b == b'0');
    (known && sound && !zeros(id) && !zeros(parent))
        .then(|| ((*id).to_owned(), (*flags).to_owned()))
}

/// The trace this task works for.
pub fn current_trace_id() -> Option<String> {
    CURRENT.try_with(|trace| trace.id.clone()).ok()
}

/// A `traceparent` for a call made on behalf of this task, with a span id of its own.
pub fn current_traceparent() -> Option<String> {
    let span = Uuid::new_v4().simple().to_string();
    CURRENT
        .try_with(|trace| format!("00-{}-{}-{}", trace.id, &span[..16], trace.flags))
        .ok()
}

pub(crate) fn current_path() -> Option<String> {
    CURRENT.try_with(|trace| trace.path.clone()).ok()
}

/// Lets work that is spawned go on within the trace (and the log span) of whoever spawned it.
pub fn carry<F: Future>(work: F) -> impl Future<Output = F::Output> {
    let (trace, span) = (
        CURRENT.try_with(Clone::clone).ok(),
        tracing::Span::current(),
    );
    async move {
        match trace {
            Some(trace) => CURRENT.scope(trace, work).await,
            None => work.await,
        }
    }
    .instrument(span)
}

/// Middleware: one trace and one log span a request, and its metrics.
pub(crate) async fn trace(request: Request, next: Next) -> Response {
    let trace = Trace::of(&request);
    let route = request
        .extensions()
        .get::<MatchedPath>()
        .map_or("unmatched", MatchedPath::as_str)
        .to_owned();
    let method = request.method().to_string();
    let span = tracing::info_span!("request", trace_id = %trace.id, %method, path = %trace.path);
    let began = Instant::now();
    let response = CURRENT
        .scope(trace, next.run(request))
        .instrument(span)
        .await;
    let status = response.status().as_u16().to_string();
    let labels = [("method", method), ("route", route), ("status", status)];
    metrics::counter!("http_requests_total", &labels).increment(1);
    metrics::histogram!("http_request_duration_seconds", &labels)
        .record(began.elapsed().as_secs_f64());
    response
}
