//! Runs a service: the middleware around its routes, the line with its address, and a
//! shutdown that lets requests in flight finish. No route of any domain.

use std::{
    convert::identity,
    future::Future,
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
    serve::{Listener as _, ListenerExt as _},
};
use hyper_util::server::graceful::GracefulShutdown;
use tokio::{
    net::TcpListener,
    signal::unix::{Signal, SignalKind, signal},
    task::JoinSet,
    time::{MissedTickBehavior, interval, timeout},
};
use tokio_util::sync::CancellationToken;
use tower::{ServiceBuilder, util::MapRequestLayer};
use tower_http::catch_panic::CatchPanicLayer;

use crate::{
    connections::Connections,
    http::{
        body::{self, BodyLimit},
        limits::{self, Limits, Permits},
        problem::Problem,
        rejections,
    },
    http1::{self, HttpService},
    supervise::supervise,
    telemetry::{self, requests, trace},
};

/// How long requests in flight may take after the signal to stop. Container engines
/// send SIGKILL after about this time: 10 s for Docker, 30 s for Kubernetes.
pub const DRAIN: Duration = Duration::from_secs(10);
/// For the readiness check; probes have short timeouts themselves.
const READINESS_TIMEOUT: Duration = Duration::from_secs(2);
/// How often samples are folded into histograms; without that they accumulate until `/metrics` is read.
const UPKEEP_INTERVAL: Duration = Duration::from_secs(5);

/// The result of a readiness check: the names of the dependencies that are unavailable, or `Ok`.
pub type Readiness = Pin<Box<dyn Future<Output = Result<(), Vec<String>>> + Send>>;

/// Serves `router` until `shutdown` resolves and the requests in flight are
/// answered, or [`DRAIN`] has passed. Prints `http://ADDR` on stdout, once, when
/// connections are accepted.
///
/// Adds `/livez`, `/readyz` (503 with `missing` while `ready` returns an error),
/// `/metrics`, limits, tracing, and problems for all failures. `router` must not have
/// a fallback. HTTP/1.1 only.
///
/// A connection is closed if the head of a request is not received within 5 s of its
/// first byte, or if it is idle for 100 s. There are at most half as many connections as
/// the process has file handles; beyond that, one without a request in progress is closed
/// for the newest one.
///
/// # Errors
/// The listener has no address.
///
/// # Cancel safety: dropping it stops accepting; requests in flight are answered, detached.
pub async fn serve(
    listener: TcpListener,
    router: Router,
    ready: impl Fn() -> Readiness + Clone + Send + Sync + 'static,
    limits: Limits,
    shutdown: impl Future<Output = ()> + Send + 'static,
) -> io::Result<()> {
    serve_and_drain(listener, router, ready, limits, shutdown, DRAIN).await
}

/// As [`serve`], with another time limit for the requests in flight.
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
    background.spawn(supervise("upkeep of histograms", CancellationToken::new(), |_| upkeep()));

    let mut listener = listener.tap_io(|connection| {
        if let Err(error) = connection.set_nodelay(true) {
            tracing::debug!(%error, "TCP_NODELAY could not be set: small responses may be delayed");
        }
    });
    let router = with_middleware(router, ready, limits);
    let (connections, draining) = (Connections::new(), GracefulShutdown::new());
    let mut shutdown = pin!(shutdown);
    announce(address);

    loop {
        let accepted = async {
            let (stream, _peer) = listener.accept().await;
            (stream, connections.place().await)
        };
        tokio::select! {
            (stream, place) = accepted => {
                tokio::spawn(http1::serve(stream, place, router.clone(), draining.watcher()));
            }
            () = &mut shutdown => break,
        }
    }
    tracing::info!("shutting down: new connections are refused, requests in flight are finished");
    drop(listener);
    if timeout(drain, draining.shutdown()).await.is_err() {
        tracing::warn!(?drain, "shutdown timed out: requests in flight are aborted");
    }
    Ok(())
}

/// Resolves on SIGTERM or SIGINT. The handlers are installed by this call, not at the
/// first poll: a signal right after the start is not lost.
///
/// # Panics
/// Outside of a tokio runtime with signals enabled.
pub fn shutdown_signal() -> impl Future<Output = ()> + Send + 'static {
    let (terminate, interrupt) = (SignalKind::terminate(), SignalKind::interrupt());
    let (mut terminate, mut interrupt) = (subscribe(terminate), subscribe(interrupt));
    async move {
        tokio::select! {
            () = receive(&mut terminate) => tracing::info!("SIGTERM received"),
            () = receive(&mut interrupt) => tracing::info!("SIGINT received"),
        }
    }
}

fn subscribe(kind: SignalKind) -> Option<Signal> {
    signal(kind).inspect_err(|error| tracing::error!(%error, ?kind, "signal handler could not be installed: this signal ends the process without draining")).ok()
}

async fn receive(signal: &mut Option<Signal>) {
    match signal {
        Some(signal) => drop(signal.recv().await),
        None => std::future::pending().await,
    }
}

/// The router in its middleware; the first layer is the outermost.
///
/// The layers are around the router, which is cheap to clone. Inside of it a layer is boxed for each route, and each request
/// clones the boxes below it: only what depends on the route is there.
fn with_middleware(
    router: Router,
    ready: impl Fn() -> Readiness + Clone + Send + Sync + 'static,
    limits: Limits,
) -> impl HttpService {
    let router = router
        .fallback(rejections::unknown_path)
        .method_not_allowed_fallback(rejections::wrong_method)
        .layer(from_fn_with_state(BodyLimit(limits.body_bytes), body::limit))
        .merge(operator_routes(ready))
        .layer(MapRequestLayer::new(requests::note_route));
    ServiceBuilder::new()
        .layer(from_fn_with_state(Permits::new(limits), limits::shed_load))
        .layer(from_fn(trace::middleware))
        .layer(from_fn(requests::middleware))
        .layer(CatchPanicLayer::custom(rejections::panic_response))
        .layer(map_response(rejections::as_problem))
        .layer(DefaultBodyLimit::max(limits.body_bytes))
        .service(router)
}

#[derive(serde::Serialize)]
struct Status {
    status: &'static str,
}

/// The routes for operators, exempt from the limits.
fn operator_routes(ready: impl Fn() -> Readiness + Clone + Send + Sync + 'static) -> Router {
    Router::new()
        .route("/livez", get(async || Json(Status { status: "alive" })))
        .route("/readyz", get(async move || readiness(ready()).await))
        .route("/metrics", get(metrics))
        .method_not_allowed_fallback(rejections::wrong_method)
}

async fn readiness(ready: Readiness) -> Response {
    let timed_out = || Err(vec![format!("readiness check (no result within {READINESS_TIMEOUT:?})")]);
    let missing = match timeout(READINESS_TIMEOUT, ready).await.map_or_else(|_| timed_out(), identity) {
        Ok(()) => return Json(Status { status: "ready" }).into_response(),
        Err(missing) => missing,
    };
    let detail = format!("unavailable: {}; retry after the time in the Retry-After header", missing.join(", "));
    Problem::new(StatusCode::SERVICE_UNAVAILABLE, "not_ready", "Service not ready", detail)
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
    let mut ticks = interval(UPKEEP_INTERVAL);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        handle.run_upkeep();
    }
}

/// Logs the address, then prints it: a reader of stdout may act on it at once. A closed
/// stdout is no reason to stop.
fn announce(address: SocketAddr) {
    tracing::info!(%address, "serving");
    let mut stdout = io::stdout().lock();
    let outcome = writeln!(stdout, "http://{address}").and_then(|()| stdout.flush());
    if let Err(error) = outcome {
        tracing::debug!(%error, "stdout is closed: the address was not printed");
    }
}
