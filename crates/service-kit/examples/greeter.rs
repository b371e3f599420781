//! A minimal service. The tests run it as a child process to send it signals and to
//! read its output.

use std::{process::ExitCode, thread, time::Duration};

use anyhow::Context as _;
use axum::{
    Router,
    routing::{get, post},
};
use clap::Parser;
use service_kit::{config::TelemetryArgs, extract::Json, limits::Limits, problem::Problem, serve, start};

#[derive(Parser)]
struct Config {
    #[command(flatten)]
    telemetry: TelemetryArgs,
}

#[derive(serde::Deserialize, garde::Validate)]
struct Greet {
    #[garde(length(min = 1))]
    name: String,
}

async fn greet(Json(body): Json<Greet>) -> Result<String, Problem> {
    Ok(format!("good day, {}", body.name))
}

async fn defect() {
    panic!("this handler is defective");
}

/// Blocks a thread, as a look-up of a name does while the resolver is silent.
async fn look_up() {
    tokio::task::spawn_blocking(|| thread::sleep(Duration::from_hours(1)));
}

fn main() -> ExitCode {
    start::run("greeter", |config: &Config| &config.telemetry, serve)
}

async fn serve(_: &Config) -> anyhow::Result<()> {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
    let router = Router::new()
        .route("/v1/greetings", post(greet))
        .route("/v1/defect", get(defect))
        .route("/v1/look-up", get(look_up));
    let ready = || Box::pin(async { Ok(()) }) as serve::Readiness;
    let shutdown = serve::shutdown_signal();
    serve::serve(listener, router, ready, Limits::default(), shutdown).await.context("serving failed")
}
