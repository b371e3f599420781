//! Inventory over HTTP, on a real Postgres. Invariant: every query and every function of the protocol runs here.

mod batches;
mod claims;
mod database_strategies;
mod documented;
mod failures;
mod privileges;
mod protocol;
mod reservations;
mod service;
mod stock;
mod stock_lock;
mod sweeper;
mod transitions;
