//! The live page: units sold against stock, orders per second, replicas that do not respond, and the auditor over HTTP.
//! The only part of the laboratory that uses axum.
//!
//! Invariant: it only reads; attacks on the stack come from other processes.
//! Absence: the page fetches nothing from other servers, and nothing is stored when it ends.

mod feed;
mod watcher;

use std::convert::Infallible;
use std::time::Duration;

use anyhow::Context as _;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{Html, IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use contract::ProblemCode;
use futures_util::stream::{self, Stream, StreamExt as _};
use serde_json::json;
use tokio::net::TcpListener;

pub use feed::{EventFeed, Moment, Replica};
pub use watcher::Watcher;

use crate::audit::{Auditor, Quiescence, Statement, wait_until_quiescent};

/// How long the databases may take to become quiescent before an audit is refused.
const QUIESCENT_WITHIN: Duration = Duration::from_secs(10);
const PAGE: &str = include_str!("page.html");
/// The page contains its style and script, and connects to this server only.
const POLICY: &str =
    "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; connect-src 'self'; img-src data:";

/// The state of the handlers.
#[derive(Debug, Clone)]
struct Live {
    auditor: Auditor,
    feed: EventFeed,
}

/// Serves until `ended` resolves, and then ends the stream of every open page.
///
/// # Errors
/// The listener fails.
pub async fn serve(
    listener: TcpListener,
    watcher: Watcher,
    ended: impl Future<Output = ()> + Send + 'static,
) -> anyhow::Result<()> {
    let feed = EventFeed::default();
    let live = Live { auditor: watcher.auditor.clone(), feed: feed.clone() };
    let (closed_at_end, published) = (feed.clone(), feed);
    let ended = async move {
        ended.await;
        // Otherwise open pages would keep the server running.
        closed_at_end.close();
    };
    tokio::select! {
        served = axum::serve(listener, router(live)).with_graceful_shutdown(ended) => served.context("the live page failed"),
        never = watcher.watch(&published) => match never {},
    }
}

fn router(live: Live) -> Router {
    Router::new()
        .route("/", get(page))
        .route("/livez", get(|| async { "ok" }))
        .route("/v1/events", get(events))
        .route("/v1/audit", get(audit))
        .with_state(live)
}

async fn page() -> impl IntoResponse {
    ([(header::CONTENT_SECURITY_POLICY, POLICY)], Html(PAGE))
}

/// The stored moments, then the new ones.
async fn events(State(live): State<Live>) -> Sse<impl Stream<Item = Result<Event, Infallible>>> {
    let after = |(feed, seen): (EventFeed, u64)| async move {
        let moments = feed.after(seen).await?;
        let seen = moments.last().map_or(seen, |moment| moment.number);
        Some((stream::iter(moments), (feed, seen)))
    };
    let moments = stream::unfold((live.feed, 0), after).flatten();
    // A moment that cannot be serialised is left out.
    let events = moments.filter_map(|moment| async move { Event::default().json_data(moment).ok().map(Ok) });
    Sse::new(events).keep_alive(KeepAlive::default())
}

/// Audits both databases. An audit proves nothing while work is in flight, and is refused.
async fn audit(State(live): State<Live>) -> Response {
    match wait_until_quiescent(&live.auditor, None, QUIESCENT_WITHIN).await {
        Ok(Quiescence::Reached) => {}
        Ok(Quiescence::NotReached(unsettled)) => return problem("not_quiescent", &unsettled.to_string()),
        Err(error) => return unreachable(&error),
    }
    match Statement::take(&live.auditor, &[]).await {
        Ok(statement) => Json(statement).into_response(),
        Err(error) => unreachable(&error),
    }
}

fn unreachable(error: &anyhow::Error) -> Response {
    tracing::warn!("the databases could not be audited; the request is answered with 503: {error:#}");
    problem(ProblemCode::DependencyUnavailable.as_str(), "a database does not answer")
}

/// A problem of RFC 9457; both codes are retryable.
fn problem(code: &str, detail: &str) -> Response {
    let status = StatusCode::SERVICE_UNAVAILABLE;
    let body = json!({
        "type": "about:blank", "title": "The databases cannot be audited at present", "status": status.as_u16(),
        "detail": detail, "code": code, "retryable": true,
    });
    let headers = [(header::CONTENT_TYPE, "application/problem+json"), (header::RETRY_AFTER, "1")];
    (status, headers, body.to_string()).into_response()
}
