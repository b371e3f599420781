//! The rules of stock and reservations, and the shapes they speak of. Pure: no I/O, no SQL, no HTTP.

pub mod allocation;
pub mod error;
pub mod release;
pub mod reservation;
pub mod stock;
