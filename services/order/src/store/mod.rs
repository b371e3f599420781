//! All the SQL of the order service. Nothing here decides; nothing elsewhere queries.
//!
//! Every change is one statement, and so one transaction and one round trip:
//! key and pending order first; answer, state and payment second.

pub mod completions;
pub mod database;
pub mod idempotency;
pub mod key_records;
mod known_keys;
mod new_keys;
pub mod orders;
pub mod payments;
pub mod replicas;
mod retention;
pub mod slow_payments;
