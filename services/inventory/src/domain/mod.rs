//! The rules of stock and reservations. Pure: no I/O, no SQL, no HTTP.

pub mod batch;
pub mod error;
pub mod stock;
