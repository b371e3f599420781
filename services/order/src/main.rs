//! Wiring only: reads the configuration, runs the service, stops it on a signal.

use anyhow::Context as _;
use clap::Parser;
use order::{app::App, config::Config};
use tokio::net::TcpListener;

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let config = Config::parse();
    let telemetry = service_kit::telemetry::init("order", &config.telemetry);
    let app = App::build(&config).await?;
    let listener = TcpListener::bind(config.listen).await.context("ORDER_LISTEN")?;
    let ran = app.run(listener, &config, service_kit::serve::shutdown_signal()).await;
    telemetry.shutdown().await;
    Ok(ran?)
}
