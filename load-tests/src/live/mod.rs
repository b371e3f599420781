//! The live page: units sold against stock, orders a second, replicas that fall silent, and the auditor over HTTP.
//! The only part of the laboratory that names axum.
//!
//! Invariant: it watches and changes nothing; whoever attacks the stack does that from elsewhere.
//! Absence: nothing is fetched from anywhere but this server, and nothing is kept when it ends.

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
use futures_util::stream::{self, Stream, StreamExt as _};
use serde_json::json;
use tokio::net::TcpListener;

pub use feed::{EventFeed, Moment, Replica};
pub use watcher::Watcher;

use crate::audit::{Auditor, Quiescence, Statement, wait_until_quiescent};

/// How long the snapshot may take to come to rest before an audit is refused.
const QUIET_WITHIN: Duration = Duration::from_secs(10);
const PAGE: &str = include_str!("page.html");
/// The page is all there is: its own style and script, and this server to listen to.
const POLICY: &str =
    "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; connect-src 'self'; img-src data:";

#[derive(Debug, Clone)]
struct Live {
    auditor: Auditor,
    feed: EventFeed,
}

/// Serves until `ended` resolves; open pages are let go.
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
    let (closed_with_it, shown) = (feed.clone(), feed);
    let ended = async move {
        ended.await;
        // Pages would keep their stream open for ever.
        closed_with_it.close();
    };
    tokio::select! {
        served = axum::serve(listener, router(live)).with_graceful_shutdown(ended) => served.context("the live page"),
        never = watcher.watch(&shown) => match never {},
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

/// Everything the feed has, then everything that comes.
async fn events(State(live): State<Live>) -> Sse<impl Stream<Item = Result<Event, Infallible>>> {
    let after = |(feed, seen): (EventFeed, u64)| async move {
        let moments = feed.after(seen).await?;
        let seen = moments.last().map_or(seen, |moment| moment.number);
        Some((stream::iter(moments), (feed, seen)))
    };
    let moments = stream::unfold((live.feed, 0), after).flatten();
    // A moment that cannot be written as JSON is one that is missing.
    let events = moments.filter_map(|moment| async move { Event::default().json_data(moment).ok().map(Ok) });
    Sse::new(events).keep_alive(KeepAlive::default())
}

/// Audits the snapshot as they are. While something is in flight an audit proves nothing, and is refused.
async fn audit(State(live): State<Live>) -> Response {
    match wait_until_quiescent(&live.auditor, None, QUIET_WITHIN).await {
        Ok(Quiescence::Reached) => {}
        Ok(Quiescence::NotReached(what)) => return problem("books_in_motion", &what),
        Err(error) => return unreachable(&error),
    }
    match Statement::take(&live.auditor, &[]).await {
        Ok(statement) => Json(statement).into_response(),
        Err(error) => unreachable(&error),
    }
}

fn unreachable(error: &anyhow::Error) -> Response {
    tracing::warn!("the audit could not be made: {error:#}");
    problem("dependency_unavailable", "the databases are not reached")
}

/// RFC 9457. Both are over some time.
fn problem(code: &str, detail: &str) -> Response {
    let status = StatusCode::SERVICE_UNAVAILABLE;
    let body = json!({
        "type": "about:blank", "title": "The snapshot cannot be audited now", "status": status.as_u16(),
        "detail": detail, "code": code, "retryable": true,
    });
    let headers = [(header::CONTENT_TYPE, "application/problem+json"), (header::RETRY_AFTER, "1")];
    (status, headers, body.to_string()).into_response()
}
