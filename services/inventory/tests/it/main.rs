//! Inventory over HTTP, on a real Postgres. Invariant: every query and every function of the protocol runs here.

mod batches;
mod claims;
mod failures;
mod protocol;
mod reservations;
mod service;
mod stock;
