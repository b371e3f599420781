//! HTTP: the routes, the handlers and the problems. Nothing here decides about an order.

pub mod answer;
pub mod lab;
pub mod orders;
pub mod problem;
pub mod router;
