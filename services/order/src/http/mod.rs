//! HTTP: the routes, the handlers, and the problem that each error becomes.
//! Nothing here decides about an order.

pub mod lab;
pub mod orders;
pub mod problem;
pub mod router;
