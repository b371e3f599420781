//! What a service says over HTTP: problems, and the checks that answer a request before its handler does.

pub mod auth;
pub(crate) mod body;
pub mod deadline;
pub mod docs;
pub mod extract;
pub mod limits;
pub mod problem;
mod problem_schema;
pub(crate) mod rejections;
