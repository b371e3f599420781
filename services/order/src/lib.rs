//! Takes orders and holds the lock across read → decide → write. Owns no stock:
//! that is inventory's, and inventory has the last word.
//!
//! Where to look first: [`critical_section`] is what the whole project is about;
//! [`placing`] is the loop around it; [`router`] is the table of calls.

pub mod answer;
pub mod app;
pub mod config;
pub mod critical_section;
pub mod crowd;
pub mod decide;
pub mod inventory_client;
pub mod lab;
pub mod locks;
pub mod order;
pub mod order_error;
pub mod order_life;
pub mod orders_db;
pub mod orders_http;
pub mod party;
pub mod payment;
pub mod placing;
pub mod problem;
pub mod reconcile;
pub mod replicas;
pub mod router;
pub mod setback;
pub mod strategy;
pub mod timings;

mod outages;
