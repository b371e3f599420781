//! Takes orders, and holds the lock across read → decide → write. Absence: no
//! stock; it belongs to inventory, whose database decides.
//!
//! Read [`placement::critical_section`] first: it is the core of the
//! project. [`placement::place_order`] is the loop around it, [`http::router`] the
//! table of routes.

pub mod app;
pub mod config;
pub mod domain;
pub mod http;
pub mod inventory;
pub mod locks;
pub mod placement;
pub mod store;

mod dependencies;

use std::process::ExitCode;

use anyhow::Context as _;
use service_kit::start::{Setting, listen};

use crate::{app::App, config::Config};

/// The whole program: reads the configuration, runs the service, stops it on a signal.
///
/// It is here and not in `main.rs` because the code of a future is generated where it is first polled: this way it is
/// generated once, with the library, and not a second time with the program.
pub fn run() -> ExitCode {
    service_kit::start::run("order", |config: &Config| &config.telemetry, serve)
}

async fn serve(config: &Config) -> anyhow::Result<()> {
    let app = App::build(config).await?;
    let listener = listen(Setting("ORDER_LISTEN"), config.listen).await?;
    app.run(listener, config, service_kit::serve::shutdown_signal()).await.context("serving failed")
}
