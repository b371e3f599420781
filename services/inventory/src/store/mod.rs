//! All the SQL of inventory. Nothing here decides; nothing elsewhere queries.

mod batch;
mod connect;
mod refusal;
mod rows;
mod stock_db;

pub use self::{
    connect::{ACQUIRE_TIMEOUT, ConnectError, Database},
    rows::{EndedHold, ReservationLine, Snapshot, StoredReservation},
    stock_db::StockDb,
};
