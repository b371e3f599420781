//! The HTTP interface: routes, bodies and problems. Absence: no SQL, and no rule of stock.

pub mod batches;
pub mod lab;
pub mod problem;
pub mod protocol;
pub mod reservations;
pub mod router;
pub mod state;
pub mod stock;
