//! Inventory over HTTP, on a real Postgres. Invariant: every query and every SQL function is executed by some test.

mod batches;
mod claims;
mod configuration;
mod database_strategies;
mod documented;
mod failures;
mod lab;
mod periodic_work;
mod privileges;
mod problems;
mod protocol;
mod reservations;
mod retention;
mod service;
mod shared_statements;
mod sku_order;
mod stock;
mod stock_lock;
mod sweeper;
mod transitions;
