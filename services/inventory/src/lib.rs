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
