//! All the SQL of the order service. Nothing here decides; nothing elsewhere queries.

mod idempotency;
pub mod orders;
pub mod payments;
mod rows;
