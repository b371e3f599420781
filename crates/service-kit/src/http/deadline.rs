//! The caller's deadline: a request is abandoned before its caller stops waiting,
//! so that it does not occupy a permit and a connection for a response that is not
//! read any more.
//!
//! Invariant: deadlines nest. The caller sends the time it still waits and gets its
//! answer, 504 `deadline_exceeded` at the latest, within that time.
//! Absence: nothing is undone. Spawned tasks run on, bounded by their own limits.

use std::time::Duration;

use axum::{
    extract::Request,
    http::HeaderMap,
    middleware::Next,
    response::{IntoResponse as _, Response},
};
use tokio::time::timeout;

use crate::http::problem::Problem;

/// The header with the caller's remaining time, in milliseconds.
pub const HEADER: &str = "deadline-ms";

/// Middleware that abandons a request after three quarters of the caller's time; the
/// rest is for the response's way back. A missing or invalid header sets no deadline.
pub async fn enforce(request: Request, next: Next) -> Response {
    let Some(remaining) = remaining_time(request.headers()) else { return next.run(request).await };
    match timeout(remaining * 3 / 4, next.run(request)).await {
        Ok(response) => response,
        Err(_elapsed) => Problem::deadline_exceeded().into_response(),
    }
}

fn remaining_time(headers: &HeaderMap) -> Option<Duration> {
    let millis = headers.get(HEADER)?.to_str().ok()?.parse().ok()?;
    // Bounded, so that multiplying it cannot overflow.
    Some(Duration::from_millis(millis).min(Duration::from_hours(1)))
}
