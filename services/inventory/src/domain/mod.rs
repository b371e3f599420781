//! The rules of stock and reservations, and the types that they use. Pure: no I/O, no SQL, no HTTP.

pub mod allocation;
pub mod error;
pub mod release;
pub mod stock;
