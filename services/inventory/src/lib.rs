//! Inventory owns stock: it hands out snapshots, registers fencing tokens, and sets units aside.
//! Invariant: stock changes only through the functions of `migrations/inventory`, which check the token
//! inside the write. Absence: inventory takes no lock for an order, and never asks who holds one; it locks only
//! what it changes by itself.

pub mod app;
pub mod batch;
pub mod batch_http;
pub mod changes;
pub mod config;
pub mod lab;
pub mod lab_http;
pub mod problem;
pub mod reservations_http;
pub mod router;
pub mod stock;
pub mod stock_db;
pub mod stock_error;
pub mod stock_http;
pub mod stock_locks;
pub mod strategy;
pub mod sweeper;

mod outages;
