//! All the SQL of inventory. Nothing here decides; nothing elsewhere queries.
//! Invariant: stock changes only through the functions of `migrations/inventory`; the role of these connections
//! has no other way.

mod batch;
mod connect;
mod maintenance;
mod new_reservation;
mod protocol;
mod recorded;
mod retention;
mod shared_claims;
mod shared_writes;
mod sku_connections;
mod sql_error;
mod stock_db;

pub use self::{
    connect::{ConnectError, Database},
    stock_db::StockDb,
};
