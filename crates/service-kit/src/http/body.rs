//! Request bodies: read within a size limit and a time limit. The connection of a
//! client that is still sending is kept open until it can receive the answer.

use std::{pin::pin, time::Duration};

use axum::{
    body::{Body, HttpBody as _},
    extract::{Request, State},
    http::{HeaderMap, header},
    middleware::Next,
    response::{IntoResponse as _, Response},
};
use futures_util::StreamExt as _;
use tokio::time::{Instant, timeout_at};

use crate::http::problem::Problem;

/// For the whole body. A slower one would occupy a permit of the concurrency limit.
const READ_TIMEOUT: Duration = Duration::from_secs(10);
/// How much of a body that is too large is read and discarded. A connection closed
/// with unread bytes is reset, and the client may not receive the 413.
const MAX_DISCARDED_BYTES: usize = 32 << 20;
const DISCARD_TIMEOUT: Duration = Duration::from_secs(2);

/// The size limit of a request's body in bytes: an extension, set by [`limit`].
#[derive(Debug, Clone, Copy)]
pub(crate) struct BodyLimit(pub(crate) usize);

/// Refuses a body by its `Content-Length`; [`read`] refuses one without it.
pub(crate) async fn limit(State(BodyLimit(limit)): State<BodyLimit>, mut request: Request, next: Next) -> Response {
    let announced = request.body().size_hint().lower();
    if announced <= u64::try_from(limit).unwrap_or(u64::MAX) {
        request.extensions_mut().insert(BodyLimit(limit));
        return next.run(request).await;
    }
    // With `Expect: 100-continue` the client has not sent the body yet.
    if !expects_continue(request.headers()) {
        discard(request.into_body()).await;
    }
    Problem::body_too_large(limit).into_response()
}

/// Reads the whole body.
///
/// # Errors
/// 413 if it is too large, 408 if it is too slow, 400 if the connection ends first.
pub(crate) async fn read(request: Request) -> Result<Vec<u8>, Problem> {
    let limit = match request.extensions().get::<BodyLimit>() {
        Some(BodyLimit(limit)) => *limit,
        None => crate::http::limits::Limits::default().body_bytes,
    };
    let body = request.into_body();
    let announced = usize::try_from(body.size_hint().lower()).unwrap_or(limit);
    let mut whole = Vec::with_capacity(announced.min(limit));
    let deadline = Instant::now() + READ_TIMEOUT;
    let mut chunks = body.into_data_stream();
    loop {
        match timeout_at(deadline, chunks.next()).await {
            Ok(Some(Ok(chunk))) if whole.len() + chunk.len() <= limit => {
                whole.extend_from_slice(&chunk);
            }
            Ok(Some(Ok(_over_the_limit))) => {
                discard(Body::from_stream(chunks)).await;
                return Err(Problem::body_too_large(limit));
            }
            Ok(Some(Err(error))) => {
                tracing::debug!(%error, "request body ended early: answered 400");
                return Err(Problem::malformed_json(
                    "the connection ended before the whole body was received; send the request again",
                ));
            }
            Ok(None) => return Ok(whole),
            Err(_elapsed) => return Err(Problem::request_timeout()),
        }
    }
}

/// Reads and drops the body, up to [`MAX_DISCARDED_BYTES`] and [`DISCARD_TIMEOUT`].
async fn discard(body: Body) {
    let deadline = Instant::now() + DISCARD_TIMEOUT;
    let mut chunks = pin!(body.into_data_stream());
    let mut left = MAX_DISCARDED_BYTES;
    while let Ok(Some(Ok(chunk))) = timeout_at(deadline, chunks.next()).await {
        match left.checked_sub(chunk.len()) {
            Some(less) => left = less,
            None => return,
        }
    }
}

fn expects_continue(headers: &HeaderMap) -> bool {
    headers.get(header::EXPECT).is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(b"100-continue"))
}
