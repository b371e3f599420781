//! How long a caller still waits, and giving up before it does: a service that
//! works for somebody who has left holds a place and a connection for nobody.
//!
//! Invariant: deadlines nest. Whoever calls says how much time is left, and is
//! answered 504 `deadline_exceeded` while it still listens.
//! Absence: nothing is undone here. What was spawned goes on, bounded by its own limits.

use std::time::Duration;

use axum::{
    extract::Request,
    http::HeaderMap,
    middleware::Next,
    response::{IntoResponse as _, Response},
};
use tokio::time::timeout;

use crate::http::problem::Problem;

/// Milliseconds that the caller still waits when it sends this.
pub const HEADER: &str = "deadline-ms";

/// Gives up when three quarters of the caller's time are over: the answer has
/// a way to go, too. Without the header, or with one that is no number, never.
pub async fn enforce(request: Request, next: Next) -> Response {
    let Some(remaining) = remaining_time(request.headers()) else { return next.run(request).await };
    match timeout(remaining * 3 / 4, next.run(request)).await {
        Ok(response) => response,
        Err(_elapsed) => Problem::deadline_exceeded().into_response(),
    }
}

fn remaining_time(headers: &HeaderMap) -> Option<Duration> {
    let millis = headers.get(HEADER)?.to_str().ok()?.parse().ok()?;
    // More than anybody waits; and it must not overflow.
    Some(Duration::from_millis(millis).min(Duration::from_hours(1)))
}
