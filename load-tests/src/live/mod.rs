//! The live page: two sales side by side, faults by button, and the auditor over HTTP. The only part of the laboratory
//! that uses axum.
//!
//! Invariant: only the stage changes anything, one action at a time, and only for a page of this server: a request that a
//! browser sends for another site is refused.
//! Absence: the page fetches nothing from other servers, and nothing is stored when it ends.

mod assets;
mod feed;
mod last_report;
mod lock_nodes;
mod order_trace;
mod refusal;
mod same_site;
mod stage;
mod watcher;

use std::convert::Infallible;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use axum::extract::rejection::JsonRejection;
use axum::extract::{Path as UrlPath, State};
use axum::http::{StatusCode, header};
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router, middleware};
use contract::{ProblemCode, Strategy};
use futures_util::stream::{self, Stream, StreamExt as _};
use serde_json::json;
use strum::VariantArray as _;
use tokio::net::TcpListener;

pub use feed::{EventFeed, Moment, Node, NodeLock, Replica, ShelfMoment};
pub use lock_nodes::NodeFault;
pub use order_trace::{Held, PlacedOrder, SentMessage, Trace, TraceKind};
pub use refusal::Refusal;
pub use stage::{Abilities, Action, Shelf, Stage, StageHandle, StageState};
pub use watcher::Watcher;

use self::last_report::LastReport;
use crate::audit::{Auditor, Quiescence, Statement, wait_until_quiescent};
use crate::interrupt::Interrupt;
use crate::runner::environment::Environment;

/// How long the databases may take to become quiescent before an audit is refused.
const QUIESCENT_WITHIN: Duration = Duration::from_secs(10);

/// The state of the handlers.
#[derive(Debug, Clone)]
struct Live {
    auditor: Auditor,
    feed: EventFeed,
    stage: StageHandle,
    /// Those that this stack has the locks of.
    strategies: Arc<[Strategy]>,
    report: LastReport,
}

/// Serves until the interrupt, and then ends the stream of every open page. The last report is read from the folder
/// `report`, whenever there is one.
///
/// # Errors
/// The listener fails.
pub async fn serve(
    listener: TcpListener,
    environment: &Environment<'_>,
    report: &Path,
    interrupt: &Interrupt,
) -> anyhow::Result<()> {
    let strategies = environment.orders.strategies(0).await.unwrap_or_else(|error| {
        tracing::warn!("the page can only be watched, because orders cannot choose a strategy here: {error:#}");
        Vec::new()
    });
    let (stage, handle) = Stage::new(environment, interrupt, strategies.clone());
    let (watcher, last) = (Watcher::new(environment, handle.clone())?, handle.clone());
    let feed = EventFeed::default();
    let live = Live {
        auditor: environment.auditor.clone(),
        feed: feed.clone(),
        stage: handle,
        strategies: strategies.into(),
        report: LastReport(report.into()),
    };
    let (closed_at_end, interrupted) = (feed.clone(), interrupt.clone());
    let ended = async move {
        interrupted.asked().await;
        // Otherwise open pages would keep the server running.
        closed_at_end.close();
    };
    let served = tokio::select! {
        served = axum::serve(listener, router(live)).with_graceful_shutdown(ended) => served.context("the live page failed"),
        never = watcher.watch(&feed) => match never {},
        never = stage.run() => match never {},
    };
    // The nodes may be those of a stack that goes on.
    lock_nodes::heal_all(environment, &last.state().node_faults).await;
    served
}

fn router(live: Live) -> Router {
    Router::new()
        .route("/", get(assets::page))
        .route("/page/{file}", get(assets::file))
        .route("/livez", get(|| async { "ok" }))
        .route("/v1/strategies", get(strategies))
        .route("/v1/events", get(events))
        .route("/v1/audit", get(audit))
        .route("/v1/actions", post(act))
        .route("/v1/traces/{kind}", get(trace))
        .route("/v1/report", get(report))
        .route("/report/", get(report_page))
        .layer(middleware::from_fn(same_site::require))
        .with_state(live)
}

/// Every strategy, in the order of reports, what it promises, and whether this stack has its lock.
async fn strategies(State(live): State<Live>) -> impl IntoResponse {
    let all = Strategy::VARIANTS.iter().map(|strategy| {
        json!({ "name": strategy, "safe": strategy.is_safe(), "available": live.strategies.contains(strategy) })
    });
    Json(all.collect::<Vec<_>>())
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

/// Carries out what a button says; 202 once it has begun.
async fn act(State(live): State<Live>, action: Result<Json<Action>, JsonRejection>) -> Response {
    let Json(action) = match action {
        Ok(action) => action,
        Err(rejection) => return problem(rejection.status(), "malformed_json", &rejection.body_text(), false),
    };
    match live.stage.request(action).await {
        Ok(()) => StatusCode::ACCEPTED.into_response(),
        Err(Refusal { code, detail }) => problem(StatusCode::CONFLICT, code, &detail, false),
    }
}

/// When the last run began and what its verdict is.
async fn report(State(live): State<Live>) -> Response {
    // No error: a page asks before there is one.
    live.report
        .summary()
        .await
        .map_or_else(|| StatusCode::NO_CONTENT.into_response(), |summary| Json(summary).into_response())
}

/// The page of the last report.
async fn report_page(State(live): State<Live>) -> Response {
    let none = || problem(StatusCode::NOT_FOUND, "not_found", "no run has written a report yet", false);
    live.report.page().await.unwrap_or_else(none)
}

/// The last trace of a kind.
async fn trace(State(live): State<Live>, UrlPath(kind): UrlPath<String>) -> Response {
    match kind.parse().ok().and_then(|kind| live.stage.trace(kind)) {
        Some(trace) => Json(&*trace).into_response(),
        // No error: a page asks before there is one.
        None => StatusCode::NO_CONTENT.into_response(),
    }
}

/// Audits both databases. An audit proves nothing while work is in flight, and is refused.
async fn audit(State(live): State<Live>) -> Response {
    match wait_until_quiescent(&live.auditor, None, QUIESCENT_WITHIN).await {
        Ok(Quiescence::Reached) => {}
        Ok(Quiescence::NotReached(unsettled)) => {
            return problem(StatusCode::SERVICE_UNAVAILABLE, "not_quiescent", &unsettled.to_string(), true);
        }
        Err(error) => return unreachable(&error),
    }
    match Statement::take(&live.auditor, &[]).await {
        Ok(statement) => Json(statement).into_response(),
        Err(error) => unreachable(&error),
    }
}

fn unreachable(error: &anyhow::Error) -> Response {
    tracing::warn!("the databases could not be audited; the request is answered with 503: {error:#}");
    let code = ProblemCode::DependencyUnavailable.as_str();
    problem(StatusCode::SERVICE_UNAVAILABLE, code, "a database does not answer", true)
}

/// A problem of RFC 9457.
fn problem(status: StatusCode, code: &str, detail: &str, retryable: bool) -> Response {
    let body = json!({
        "type": "about:blank", "title": status.canonical_reason(), "status": status.as_u16(),
        "detail": detail, "code": code, "retryable": retryable,
    });
    let mut response = (status, [(header::CONTENT_TYPE, "application/problem+json")], body.to_string()).into_response();
    if retryable {
        response.headers_mut().insert(header::RETRY_AFTER, header::HeaderValue::from_static("1"));
    }
    response
}
