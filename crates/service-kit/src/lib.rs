//! What every service shares: configuration of telemetry, serving and shutting down,
//! logs, metrics and traces, limits, and failures as problems.
//!
//! A service has an [`axum::Router`] and a readiness check; [`serve::serve`] adds the
//! rest. Every failure is answered with a [`problem::Problem`] (RFC 9457), the
//! framework's own rejections included.
//!
//! Absence: no domain and no database.
//!
//! ```no_run
//! use axum::{Router, routing::post};
//! use service_kit::{extract::Json, limits::Limits, problem::Problem, serve};
//!
//! #[derive(serde::Deserialize, garde::Validate)]
//! struct Greet {
//!     #[garde(length(min = 1))]
//!     name: String,
//! }
//!
//! async fn greet(Json(body): Json<Greet>) -> Result<String, Problem> {
//!     Ok(format!("good day, {}", body.name))
//! }
//!
//! # async fn run() -> std::io::Result<()> {
//! let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
//! let router = Router::new().route("/v1/greetings", post(greet));
//! let ready = || Box::pin(async { Ok(()) }) as serve::Readiness;
//! serve::serve(listener, router, ready, Limits::default(), serve::shutdown_signal()).await
//! # }
//! ```

pub mod config;
pub mod lab;
pub mod outage;
pub mod serve;
pub mod start;
pub mod supervise;
pub mod telemetry;

mod connections;
mod http;
mod http1;

pub use http::{auth, deadline, docs, extract, limits, message_routes, problem};
pub use telemetry::{messages, trace};
