//! Takes orders, and holds the lock across read → decide → write. Owns no stock:
//! that is inventory's, whose database decides.
//!
//! Read [`placement::critical_section`] first: it is what the whole project is
//! about. [`placement::place_order`] is the loop around it, [`http::router`] the
//! table of routes.

pub mod app;
pub mod config;
pub mod domain;
pub mod http;
pub mod inventory;
pub mod placement;
pub mod store;

mod dependencies;
