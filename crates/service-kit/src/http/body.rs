//! Reading request bodies: within a limit, within a deadline, and never hanging
//! up on a client in the middle of its sentence if it can be helped.

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

/// A body that takes longer is not worth a place among the requests at work.
const READ_TIMEOUT: Duration = Duration::from_secs(10);
/// What is read and thrown away of a body that is too large. A connection closed
/// with unread bytes is reset, and the client may lose the 413 that explains it.
const MAX_DISCARDED_BYTES: usize = 32 << 20;
const DISCARD_TIMEOUT: Duration = Duration::from_secs(2);

/// The limit that is in force for a request; put there by [`limit`].
#[derive(Debug, Clone, Copy)]
pub(crate) struct BodyLimit(pub(crate) usize);

/// Refuses a body by its announced length; [`read`] refuses the unannounced.
pub(crate) async fn limit(State(BodyLimit(limit)): State<BodyLimit>, mut request: Request, next: Next) -> Response {
    let announced = request.body().size_hint().lower();
    if announced <= u64::try_from(limit).unwrap_or(u64::MAX) {
        request.extensions_mut().insert(BodyLimit(limit));
        return next.run(request).await;
    }
    // Who asks before sending has sent nothing yet.
    if !expects_continue(request.headers()) {
        discard(request.into_body()).await;
    }
    Problem::body_too_large(limit).into_response()
}

/// The whole body.
///
/// # Errors
/// 413 if it is too large, 408 if it is too slow, 400 if it breaks off.
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
            Ok(Some(Ok(_too_much))) => {
                discard(Body::from_stream(chunks)).await;
                return Err(Problem::body_too_large(limit));
            }
            Ok(Some(Err(error))) => {
                tracing::debug!(%error, "a body broke off");
                return Err(Problem::malformed_json("the body broke off"));
            }
            Ok(None) => return Ok(whole),
            Err(_elapsed) => return Err(Problem::request_timeout()),
        }
    }
}

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
