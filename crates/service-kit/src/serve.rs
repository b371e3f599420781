//! Runs a service: what is around its routes, the line that tells its address,
//! and an end that lets requests in flight finish. No route of any domain.

use std::{
    convert::identity,
    future::{Future, IntoFuture as _},
    io::{self, Write as _},
    net::SocketAddr,
    pin::{Pin, pin},
    time::Duration,
};

use axum::{
    Json, Router,
    extract::DefaultBodyLimit,
    http::{StatusCode, header},
    middleware::{from_fn, from_fn_with_state, map_response},
    response::{IntoResponse as _, Response},
    routing::get,
    serve::ListenerExt as _,
};
use tokio::{
    net::TcpListener,
    signal::unix::{Signal, SignalKind, signal},
    sync::oneshot,
    task::JoinSet,
    time::{MissedTickBehavior, interval, timeout},
};
use tower_http::catch_panic::CatchPanicLayer;

use crate::{
    http::{
        body::{self, BodyLimit},
        limits::{self, Limits, Permits},
        problem::Problem,
        rejections,
    },
    telemetry::{self, requests, trace},
};

/// Requests in flight get this long after the signal to stop. Whoever stops
/// containers usually waits a little longer than this before it kills.
pub const DRAIN: Duration = Duration::from_secs(10);
/// A probe wants an answer soon, or none.
const READINESS_TIMEOUT: Duration = Duration::from_secs(2);
/// Samples are folded into histograms this often; else they pile up unread.
const UPKEEP_INTERVAL: Duration = Duration::from_secs(5);

/// What a readiness check returns: nothing, or the names of what is missing.
pub type Readiness = Pin<Box<dyn Future<Output = Result<(), Vec<String>>> + Send>>;

/// Serves `router` until `shutdown` resolves and the requests in flight are
/// answered, or [`DRAIN`] has passed. Prints `http://ADDR` on stdout, once, when
/// connections are accepted.
///
/// Adds `/livez`, `/readyz` (503 with `missing` unless `ready` says yes),
/// `/metrics`, limits, tracing, and problems for everything that goes wrong.
/// `router` brings no fallback of its own.
///
/// # Errors
/// The listener has no address.
///
/// # Cancel safety: dropped, it stops accepting; connections go on detached.
pub async fn serve(
    listener: TcpListener,
    router: Router,
    ready: impl Fn() -> Readiness + Clone + Send + Sync + 'static,
    limits: Limits,
    shutdown: impl Future<Output = ()> + Send + 'static,
) -> io::Result<()> {
    serve_and_drain(listener, router, ready, limits, shutdown, DRAIN).await
}

/// As [`serve`], with another limit for the requests in flight.
///
/// # Errors
/// As [`serve`].
pub async fn serve_and_drain(
    listener: TcpListener,
    router: Router,
    ready: impl Fn() -> Readiness + Clone + Send + Sync + 'static,
    limits: Limits,
    shutdown: impl Future<Output = ()> + Send + 'static,
    drain: Duration,
) -> io::Result<()> {
    let address = listener.local_addr()?;
    let mut background = JoinSet::new();
    background.spawn(upkeep());

    let (stopping, stop_seen) = oneshot::channel::<()>();
    let stop = async move {
        shutdown.await;
        tracing::info!("stopping: requests in flight finish, no new ones are taken");
        drop(stopping);
    };
    let listener = listener.tap_io(|connection| {
        if let Err(error) = connection.set_nodelay(true) {
            tracing::debug!(%error, "Nagle's algorithm stays on");
        }
    });
    let server = axum::serve(listener, with_middleware(router, ready, limits));
    let mut server = pin!(server.with_graceful_shutdown(stop).into_future());
    announce(address);

    tokio::select! {
        ended = &mut server => return ended,
        _ = stop_seen => {}
    }
    match timeout(drain, server).await {
        Ok(ended) => ended,
        Err(_elapsed) => {
            tracing::warn!(?drain, "some requests did not finish in time");
            Ok(())
        }
    }
}

/// Resolves on SIGTERM or SIGINT. Listens from the moment it is called, not
/// from when it is polled: a signal right after the start is not lost.
///
/// # Panics
/// Outside of a tokio runtime with signals enabled.
pub fn shutdown_signal() -> impl Future<Output = ()> + Send + 'static {
    let (terminate, interrupt) = (SignalKind::terminate(), SignalKind::interrupt());
    let (mut terminate, mut interrupt) = (subscribe(terminate), subscribe(interrupt));
    async move {
        tokio::select! {
            () = receive(&mut terminate) => tracing::info!("SIGTERM"),
            () = receive(&mut interrupt) => tracing::info!("SIGINT"),
        }
    }
}

fn subscribe(kind: SignalKind) -> Option<Signal> {
    signal(kind).inspect_err(|error| tracing::error!(%error, ?kind, "this signal will end us at once")).ok()
}

async fn receive(signal: &mut Option<Signal>) {
    match signal {
        Some(signal) => drop(signal.recv().await),
        None => std::future::pending().await,
    }
}

/// The router with everything around it; what comes last is outermost.
fn with_middleware(
    router: Router,
    ready: impl Fn() -> Readiness + Clone + Send + Sync + 'static,
    limits: Limits,
) -> Router {
    router
        .fallback(rejections::unknown_path)
        .method_not_allowed_fallback(rejections::wrong_method)
        .layer(from_fn_with_state(BodyLimit(limits.body_bytes), body::limit))
        .layer(DefaultBodyLimit::max(limits.body_bytes))
        .layer(from_fn_with_state(Permits::new(limits), limits::shed_load))
        .merge(operator_routes(ready))
        .layer(map_response(rejections::as_problem))
        .layer(CatchPanicLayer::custom(rejections::panic_response))
        .layer(from_fn(requests::middleware))
        .layer(from_fn(trace::middleware))
}

#[derive(serde::Serialize)]
struct Status {
    status: &'static str,
}

/// What operators ask, limits or not.
fn operator_routes(ready: impl Fn() -> Readiness + Clone + Send + Sync + 'static) -> Router {
    Router::new()
        .route("/livez", get(async || Json(Status { status: "alive" })))
        .route("/readyz", get(async move || readiness(ready()).await))
        .route("/metrics", get(metrics))
        .method_not_allowed_fallback(rejections::wrong_method)
}

async fn readiness(ready: Readiness) -> Response {
    let late = || Err(vec!["an answer in time".to_owned()]);
    let missing = match timeout(READINESS_TIMEOUT, ready).await.map_or_else(|_| late(), identity) {
        Ok(()) => return Json(Status { status: "ready" }).into_response(),
        Err(missing) => missing,
    };
    Problem::new(StatusCode::SERVICE_UNAVAILABLE, "not_ready", "Not ready", format!("missing: {}", missing.join(", ")))
        .with("missing", missing)
        .retry_after(Duration::from_secs(1))
        .into_response()
}

async fn metrics() -> Response {
    let Some(handle) = telemetry::metrics_handle() else {
        return Problem::internal().into_response();
    };
    let content_type = [(header::CONTENT_TYPE, "text/plain; version=0.0.4")];
    (content_type, handle.render()).into_response()
}

async fn upkeep() {
    let Some(handle) = telemetry::metrics_handle() else {
        return;
    };
    let mut every = interval(UPKEEP_INTERVAL);
    every.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        every.tick().await;
        handle.run_upkeep();
    }
}

/// To the log first: who reads the address may do something to us at once.
/// Whoever started us may have closed stdout; that is no reason to stop.
fn announce(address: SocketAddr) {
    tracing::info!(%address, "serving");
    let mut stdout = io::stdout().lock();
    let outcome = writeln!(stdout, "http://{address}").and_then(|()| stdout.flush());
    if let Err(error) = outcome {
        tracing::debug!(%error, "nobody reads our address");
    }
}
