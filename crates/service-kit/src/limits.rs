//! How much a service takes on at once: bytes a body, requests in flight.
//! Invariant: what is over the limit is answered at once (413, 429), never queued.

use std::sync::Arc;

use axum::{
    extract::{Request, State},
    http::header,
    middleware::Next,
    response::{IntoResponse, Response},
};
use tokio::sync::Semaphore;

use crate::problem::Problem;

/// Limits of one service.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// The largest body, in bytes.
    pub body_bytes: usize,
    /// Requests worked on at the same time; health and metrics do not count.
    pub concurrency: usize,
}

/// Tells the extractor what to name in a 413.
#[derive(Debug, Clone, Copy)]
pub(crate) struct BodyLimit(pub(crate) usize);

#[derive(Clone)]
pub(crate) struct Gate {
    limits: Limits,
    places: Arc<Semaphore>,
}

impl Gate {
    pub(crate) fn new(limits: Limits) -> Self {
        Self {
            limits,
            places: Arc::new(Semaphore::new(limits.concurrency)),
        }
    }
}

pub(crate) async fn admit(State(gate): State<Gate>, mut request: Request, next: Next) -> Response {
    let Ok(_place) = gate.places.try_acquire() else {
        return Problem::overloaded().into_response();
    };
    let announced = request
        .headers()
        .get(header::CONTENT_LENGTH)
        .and_then(|v| v.to_str().ok());
    let announced = announced.and_then(|v| v.parse::<usize>().ok());
    if announced.is_some_and(|bytes| bytes > gate.limits.body_bytes) {
        return Problem::body_too_large(gate.limits.body_bytes).into_response();
    }
    request
        .extensions_mut()
        .insert(BodyLimit(gate.limits.body_bytes));
    next.run(request).await
}
