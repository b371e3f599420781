//! Counts requests, by method, route and status. Labels come from the router,
//! never from the caller, so that nobody can make up new series.

use std::time::Instant;

use axum::{
    extract::{MatchedPath, Request},
    http::Method,
    middleware::Next,
    response::Response,
};
use tracing::Span;

use crate::telemetry::export;

/// Where a request is counted when its caller hung up before the answer.
const ABANDONED: &str = "abandoned";

/// Counts and times one request.
pub(crate) async fn middleware(request: Request, next: Next) -> Response {
    let mut timer = RequestTimer::new(&request);
    export::name_after_route(&Span::current(), timer.method, &timer.route);
    let response = next.run(request).await;
    timer.status = response.status().as_u16().to_string();
    response
}

struct RequestTimer {
    started: Instant,
    method: &'static str,
    route: String,
    status: String,
}

impl RequestTimer {
    fn new(request: &Request) -> Self {
        let route = request.extensions().get::<MatchedPath>();
        Self {
            started: Instant::now(),
            method: method_label(request.method()),
            route: route.map_or("unmatched", MatchedPath::as_str).to_owned(),
            status: ABANDONED.to_owned(),
        }
    }
}

impl Drop for RequestTimer {
    fn drop(&mut self) {
        let elapsed = self.started.elapsed();
        let labels = [
            ("method", self.method.to_owned()),
            ("route", std::mem::take(&mut self.route)),
            ("status", std::mem::take(&mut self.status)),
        ];
        tracing::debug!(status = labels[2].1, ?elapsed, "answered");
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
