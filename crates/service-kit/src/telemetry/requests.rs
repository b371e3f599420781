//! Metrics of requests: number and duration by method, route and status. Labels come
//! from the router, never from the caller, so that a caller cannot create new series.

use std::{
    sync::{Arc, OnceLock},
    time::Instant,
};

use axum::{
    extract::{MatchedPath, Request},
    http::Method,
    middleware::Next,
    response::Response,
};
use tracing::Span;

use crate::telemetry::export;

/// The status label of a request whose caller hung up before the response.
const ABANDONED: &str = "abandoned";

/// The route of a request, which is known once the router has looked its path up.
#[derive(Debug, Clone, Default)]
struct Route(Arc<OnceLock<MatchedPath>>);

impl Route {
    fn label(&self) -> &str {
        self.0.get().map_or("unmatched", MatchedPath::as_str)
    }
}

/// Counts and times one request. The router must pass it on through [`note_route`].
pub(crate) async fn middleware(mut request: Request, next: Next) -> Response {
    let mut timer = RequestTimer::new(request.method());
    request.extensions_mut().insert(timer.route.clone());
    let response = next.run(request).await;
    timer.status = response.status().as_u16().to_string();
    response
}

/// Tells [`middleware`] which route was matched, and names the span after it.
pub(crate) fn note_route(request: Request) -> Request {
    let extensions = request.extensions();
    if let Some(route) = extensions.get::<Route>() {
        if let Some(matched) = extensions.get::<MatchedPath>() {
            let _first = route.0.set(matched.clone());
        }
        export::name_after_route(&Span::current(), method_label(request.method()), route.label());
    }
    request
}

struct RequestTimer {
    started: Instant,
    method: &'static str,
    route: Route,
    status: String,
}

impl RequestTimer {
    fn new(method: &Method) -> Self {
        Self {
            started: Instant::now(),
            method: method_label(method),
            route: Route::default(),
            status: ABANDONED.to_owned(),
        }
    }
}

impl Drop for RequestTimer {
    fn drop(&mut self) {
        let elapsed = self.started.elapsed();
        let route = self.route.label().to_owned();
        let labels =
            [("method", self.method.to_owned()), ("route", route), ("status", std::mem::take(&mut self.status))];
        tracing::debug!(status = labels[2].1, ?elapsed, "request answered");
        metrics::counter!("http_requests_total", &labels).increment(1);
        metrics::histogram!("http_request_duration_seconds", &labels).record(elapsed.as_secs_f64());
    }
}

fn method_label(method: &Method) -> &'static str {
    match method.as_str() {
        "GET" => "GET",
        "POST" => "POST",
        "PUT" => "PUT",
        "PATCH" => "PATCH",
        "DELETE" => "DELETE",
        "HEAD" => "HEAD",
        "OPTIONS" => "OPTIONS",
        _ => "other",
    }
}
