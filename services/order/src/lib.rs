//! Takes orders, and holds the lock across read → decide → write. Absence: no
//! stock; it belongs to inventory, whose database decides.
//!
//! Read [`placement::critical_section`] first: it is the core of the
//! project. [`placement::place_order`] is the loop around it, [`http::router`] the
//! table of routes.

pub mod app;
pub mod config;
pub mod domain;
pub mod http;
pub mod inventory;
pub mod placement;
pub mod store;

mod dependencies;
