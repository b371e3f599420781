//! What an order is, how stock is allocated, and what can go wrong.
//! Pure: no I/O, no HTTP, no SQL.

pub mod allocation;
pub mod error;
pub mod order;
