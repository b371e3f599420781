//! What every service here shares: problem+json, extractors, limits, traces, telemetry, serving and
//! shutting down. Invariant: whatever goes wrong, the caller gets a [`problem::Problem`].
//! Absence: no domain; nothing here knows stock, orders or locks.

pub mod auth;
pub mod config;
pub mod extract;
pub mod limits;
pub mod problem;
pub mod serve;
pub mod telemetry;
pub mod trace;
