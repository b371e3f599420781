//! Limits of one replica: bytes of a body, concurrent requests. A request beyond a
//! limit is refused at once, never queued.

use std::sync::Arc;

use axum::{
    extract::{Request, State},
    middleware::Next,
    response::{IntoResponse as _, Response},
};
use tokio::sync::Semaphore;

use crate::http::problem::Problem;

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

/// One permit per concurrent request, [`Limits::concurrency`] in all.
#[derive(Debug, Clone)]
pub(crate) struct Permits(Arc<Semaphore>);

impl Permits {
    pub(crate) fn new(limits: Limits) -> Self {
        let permits = limits.concurrency.min(Semaphore::MAX_PERMITS);
        Self(Arc::new(Semaphore::new(permits)))
    }
}

/// Holds a permit until the response is made or the caller hangs up; answers 429 without one.
pub(crate) async fn shed_load(State(Permits(permits)): State<Permits>, request: Request, next: Next) -> Response {
    match permits.try_acquire() {
        Ok(_permit) => next.run(request).await,
        Err(_no_permit) => Problem::overloaded().into_response(),
    }
}
