//! The way of an order, from its idempotency key to its recorded answer, and
//! what becomes of it afterwards.
//!
//! `service` retries; `batcher` decides which orders share a grant;
//! `critical_section` is the protocol; `outcome` defines what a failure means for
//! the order.

pub mod batch;
pub mod batcher;
pub mod critical_section;
pub mod lifecycle;
pub mod outcome;
pub mod pauses;
pub mod probes;
pub mod reconcile;
pub mod service;
