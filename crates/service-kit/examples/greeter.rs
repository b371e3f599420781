//! The smallest service. Also the one that the tests run as a process of its
//! own, to stop it with signals and to read what it prints.

use axum::{
    Router,
    routing::{get, post},
};
use clap::Parser;
use service_kit::{config::TelemetryArgs, extract::Json, limits::Limits, problem::Problem, serve, telemetry};

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

#[tokio::main]
async fn main() -> std::io::Result<()> {
    let telemetry = telemetry::init("greeter", &Config::parse().telemetry);
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
    let router = Router::new().route("/v1/greetings", post(greet)).route("/v1/defect", get(defect));
    let ready = || Box::pin(async { Ok(()) }) as serve::Readiness;
    let shutdown = serve::shutdown_signal();
    let served = serve::serve(listener, router, ready, Limits::default(), shutdown).await;
    telemetry.shutdown().await;
    served
}
