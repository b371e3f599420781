//! Limits of one replica: bytes of a body, concurrent requests. A request beyond a
//! limit is refused at once, never queued.

use std::{sync::Arc, time::Instant};

use axum::{
    extract::{Request, State},
    http::{HeaderValue, StatusCode, header},
    middleware::Next,
    response::Response,
};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::{
    http::{backlog::Backlog, problem::Problem},
    telemetry::trace_context,
};

/// The limits of one replica.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// The largest body, in bytes; a larger one is answered 413 `body_too_large`.
    pub body_bytes: usize,
    /// The most concurrent requests; one more is answered 429 `overloaded`.
    /// `/livez`, `/readyz` and `/metrics` are not counted.
    pub concurrency: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { body_bytes: 1 << 20, concurrency: 512 }
    }
}

/// The place of a request among those in progress. Work that goes on after its caller has hung up keeps it: what is let in
/// counts until it is done.
#[derive(Debug, Clone)]
pub struct Admitted {
    _permit: Arc<OwnedSemaphorePermit>,
}

/// The routes for operators, who are answered whatever the load.
pub(crate) const OPERATOR_PATHS: [&str; 3] = ["/livez", "/readyz", "/metrics"];

/// One permit per concurrent request, [`Limits::concurrency`] in all, and what is known of those who got none.
#[derive(Debug, Clone)]
pub(crate) struct Permits {
    permits: Arc<Semaphore>,
    backlog: Arc<Backlog>,
}

impl Permits {
    pub(crate) fn new(limits: Limits) -> Self {
        let permits = limits.concurrency.min(Semaphore::MAX_PERMITS);
        Self { permits: Arc::new(Semaphore::new(permits)), backlog: Arc::default() }
    }
}

/// Holds a permit until the response is made or the caller hangs up, and as long as a handler keeps [`Admitted`]; answers
/// 429 without one. Every 429, also that of a handler, asks the caller to wait as long as the backlog lasts.
///
/// The outermost layer: in a rush nearly all requests are refused, and what a refusal costs is missing for the others.
/// It has a trace id and is counted, without its duration, and no span is opened for it.
pub(crate) async fn shed_load(State(permits): State<Permits>, mut request: Request, next: Next) -> Response {
    let path = request.uri().path();
    if OPERATOR_PATHS.contains(&path) {
        return next.run(request).await;
    }
    let Permits { permits, backlog } = permits;
    let response = match permits.try_acquire_owned() {
        Ok(permit) => {
            let admitted = Admitted { _permit: Arc::new(permit) };
            request.extensions_mut().insert(admitted.clone());
            let response = next.run(request).await;
            drop(admitted);
            response
        }
        Err(_no_permit) => {
            metrics::counter!("http_requests_total", "method" => "any", "route" => "any", "status" => "429")
                .increment(1);
            let trace = trace_context::new_span(trace_context::extract(request.headers()).as_ref());
            Problem::overloaded().respond(Some(path), Some(trace.trace_id().to_string()))
        }
    };
    if response.status() == StatusCode::TOO_MANY_REQUESTS {
        return asking_to_wait(response, backlog.refused(Instant::now()));
    }
    backlog.served(Instant::now());
    response
}

/// With a `Retry-After` of at least this.
fn asking_to_wait(mut response: Response, seconds: u32) -> Response {
    let asks = response.headers().get(header::RETRY_AFTER).and_then(|asks| asks.to_str().ok()?.parse().ok());
    if asks.is_none_or(|asks: u32| asks < seconds) {
        response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds));
    }
    response
}
