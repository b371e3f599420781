//! The way of an order, from its idempotency key to its recorded answer, and
//! what becomes of it afterwards.
//!
//! `place_order` retries; `batcher` decides which orders share a grant;
//! `critical_section` is the protocol; `attempt_error` defines what a failure means for
//! the order.

pub mod attempt_error;
pub mod batch;
pub mod batcher;
pub mod critical_section;
pub mod housekeeping;
pub mod lifecycle;
pub mod pauses;
pub mod place_order;
pub mod probes;
pub mod reconcile;
mod recording;
pub mod short_skus;
mod shortage;
pub mod sku_limit;
