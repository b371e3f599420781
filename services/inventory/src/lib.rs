//! Inventory owns stock: it returns snapshots, registers fencing tokens, and sets units aside.
//! Invariant: stock changes only through the functions of `migrations/inventory`, which check the token
//! inside the write. Absence: inventory acquires no lock for an order, and reads no holder of one; it locks
//! only what it changes by itself.

pub mod app;
pub mod config;
pub mod domain;
pub mod http;
pub mod lab;
pub mod maintenance;
pub mod store;

mod outages;

use std::process::ExitCode;

use anyhow::Context as _;
use service_kit::start::{Setting, listen};

use crate::{app::App, config::Config};

/// The whole program: reads the configuration, runs the service, stops it on a signal.
///
/// It is here and not in `main.rs` because the code of a future is generated where it is first polled: this way it is
/// generated once, with the library, and not a second time with the program.
pub fn run() -> ExitCode {
    service_kit::start::run("inventory", |config: &Config| &config.telemetry, serve)
}

async fn serve(config: &Config) -> anyhow::Result<()> {
    let app = App::build(config).await?;
    let listener = listen(Setting("INVENTORY_LISTEN"), config.listen).await?;
    app.run(listener, config, service_kit::serve::shutdown_signal()).await.context("serving failed")
}
