//! Takes orders and holds the lock across read → decide → write. Owns no stock:
//! that is inventory's, and inventory has the last word.
//!
//! Where to look first: [`placement::critical_section`] is what the whole project is about;
//! [`placement::service`] is the loop around it; [`http::router`] is the table of calls.

pub mod app;
pub mod config;
pub mod domain;
pub mod http;
pub mod inventory;
pub mod placement;
pub mod store;
pub mod strategy;

mod outages;
