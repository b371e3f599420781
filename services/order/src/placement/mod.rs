//! The way of an order, from its idempotency key to its recorded answer.

pub mod batch;
pub mod batcher;
pub mod critical_section;
pub mod lifecycle;
pub mod locks;
pub mod outcome;
pub mod reconcile;
pub mod service;
pub mod timings;
