//! How much a service takes on: bytes of one body, requests at once. What is
//! over the limit is refused at once, never queued.

use std::sync::Arc;

use axum::{
    extract::{Request, State},
    middleware::Next,
    response::{IntoResponse as _, Response},
};
use tokio::sync::Semaphore;

use crate::http::problem::Problem;

/// What one replica takes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Longest body; a longer one is answered 413 `body_too_large`.
    pub body_bytes: usize,
    /// Most requests worked on at once; one more is answered 429 `overloaded`.
    /// `/livez`, `/readyz` and `/metrics` are not counted.
    pub concurrency: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { body_bytes: 1 << 20, concurrency: 512 }
    }
}

/// The places of [`Limits::concurrency`].
#[derive(Debug, Clone)]
pub(crate) struct Permits(Arc<Semaphore>);

impl Permits {
    pub(crate) fn new(limits: Limits) -> Self {
        let permits = limits.concurrency.min(Semaphore::MAX_PERMITS);
        Self(Arc::new(Semaphore::new(permits)))
    }
}

/// Holds a place while the request is worked on; a caller that hangs up frees it.
pub(crate) async fn shed_load(State(Permits(permits)): State<Permits>, request: Request, next: Next) -> Response {
    match permits.try_acquire() {
        Ok(_permit) => next.run(request).await,
        Err(_no_permit) => Problem::overloaded().into_response(),
    }
}
