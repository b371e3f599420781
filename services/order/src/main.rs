//! Wiring only: reads the configuration, runs the service, stops it on a signal.

use std::process::ExitCode;

use anyhow::Context as _;
use order::{app::App, config::Config};
use tokio::net::TcpListener;

fn main() -> ExitCode {
    service_kit::start::run("order", |config: &Config| &config.telemetry, serve)
}

async fn serve(config: &Config) -> anyhow::Result<()> {
    let app = App::build(config).await?;
    let listener = TcpListener::bind(config.listen).await;
    let listener = listener.with_context(|| format!("ORDER_LISTEN: listening on {} failed", config.listen))?;
    app.run(listener, config, service_kit::serve::shutdown_signal()).await.context("serving failed")
}
