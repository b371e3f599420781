//! Serving one router on one listener until told to stop.
//! Invariant: stdout carries one line, the address, once connections are accepted; requests in flight
//! are finished within [`DRAIN`]. Absence: nothing here knows what the routes do.

use std::{future::Future, io, io::Write as _, time::Duration};

use axum::{
    Json, Router,
    extract::DefaultBodyLimit,
    http::StatusCode,
    middleware,
    response::{IntoResponse, Response},
    routing::get,
};
use futures_util::future::BoxFuture;
use tokio::net::TcpListener;
use tower_http::catch_panic::CatchPanicLayer;

use crate::{
    limits::{self, Gate, Limits},
    problem::Problem,
    telemetry, trace,
};

/// How long requests in flight may take to end after the signal.
pub const DRAIN: Duration = Duration::from_secs(20);

/// Serves `router`, with `/livez`, `/readyz`, `/metrics`, limits, traces and problems around it.
///
/// `ready` names what is missing. Returns after `shutdown` once requests in flight have ended, or after [`DRAIN`].
///
/// # Errors
/// The listener failed, or stdout is closed.
pub async fn serve<R>(
    listener: TcpListener,
    router: Router,
    ready: R,
    limits: Limits,
    shutdown: impl Future<Output = ()> + Send + 'static,
) -> io::Result<()>
where
    R: Fn() -> BoxFuture<'static, Result<(), Vec<String>>> + Clone + Send + Sync + 'static,
{
    let app = dress(router, ready, limits);
    let mut stdout = io::stdout();
    writeln!(stdout, "http://{}", listener.local_addr()?)?;
    stdout.flush()?;
    let (told, hear) = tokio::sync::oneshot::channel();
    let stop = async move {
        shutdown.await;
        tracing::info!("shutting down: no new requests, those in flight are finished");
        let _nobody_listens = told.send(());
    };
    let drained_too_long = async {
        if hear.await.is_err() {
            std::future::pending::<()>().await;
        }
        tokio::time::sleep(DRAIN).await;
    };
    tokio::select! {
        served = axum::serve(listener, app).with_graceful_shutdown(stop).into_future() => served,
        () = drained_too_long => {
            tracing::warn!(seconds = DRAIN.as_secs(), "requests were still in flight and are dropped");
            Ok(())
        }
    }
}

fn dress<R>(router: Router, ready: R, limits: Limits) -> Router
where
    R: Fn() -> BoxFuture<'static, Result<(), Vec<String>>> + Clone + Send + Sync + 'static,
{
    let metrics = telemetry::metrics_handle();
    let guarded = router
        .fallback(async || Problem::not_found("no route has this path; see /openapi.json"))
        .method_not_allowed_fallback(async || Problem::method_not_allowed())
        .layer(DefaultBodyLimit::max(limits.body_bytes))
        .layer(middleware::from_fn_with_state(
            Gate::new(limits),
            limits::admit,
        ));
    let own = Router::new()
        .route(
            "/livez",
            get(async || Json(serde_json::json!({"status": "alive"}))),
        )
        .route("/readyz", get(move || readiness(ready())))
        .route("/metrics", get(async || metrics.render()))
        .method_not_allowed_fallback(async || Problem::method_not_allowed());
    own.merge(guarded)
        .layer(CatchPanicLayer::custom(panicked))
        .layer(middleware::from_fn(trace::trace))
}

async fn readiness(ready: BoxFuture<'static, Result<(), Vec<String>>>) -> Response {
    match ready.await {
        Ok(()) => Json(serde_json::json!({"status": "ready"})).into_response(),
        Err(missing) => {
            let detail = format!("not ready: {} did not answer", missing.join(", "));
            Problem::new(
                StatusCode::SERVICE_UNAVAILABLE,
                "not_ready",
                "Not ready",
                detail,
            )
            .retry_after(Duration::from_secs(1))
            .with("missing", missing)
            .into_response()
        }
    }
}

#[expect(
    clippy::needless_pass_by_value,
    reason = "the signature the layer wants"
)]
fn panicked(panic: Box<dyn std::any::Any + Send>) -> Response {
    let text = panic.downcast_ref::<&str>().map(|s| (*s).to_owned());
    let text = text.or_else(|| panic.downcast_ref::<String>().cloned());
    tracing::error!(
        panic = text.as_deref().unwrap_or("not a text"),
        "a handler panicked"
    );
    Problem::internal().into_response()
}

/// Resolves on SIGTERM or SIGINT.
///
/// # Panics
/// No signal handler could be registered: start-up, not traffic.
pub async fn shutdown_signal() {
    use tokio::signal::unix::{SignalKind, signal};
    let mut terminate = signal(SignalKind::terminate()).expect("SIGTERM can be listened for");
    let mut interrupt = signal(SignalKind::interrupt()).expect("SIGINT can be listened for");
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
}
