//! Inventory over HTTP, on a real Postgres. Invariant: every query and every function of the protocol runs here.

mod batches;
mod claims;
mod documented;
mod failures;
mod guarded;
mod locked;
mod native;
mod protocol;
mod reservations;
mod service;
mod stock;
mod sweeper;
mod transitions;
