//! HTTP: problems, extractors, documentation, and the middleware that answers a
//! request before its handler does.

pub mod auth;
mod backlog;
pub(crate) mod body;
pub mod deadline;
pub mod docs;
pub mod extract;
pub mod limits;
pub mod message_routes;
pub mod problem;
mod problem_schema;
pub(crate) mod rejections;
