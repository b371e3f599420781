//! The kit over a real listener, with a real client, or with raw bytes where an HTTP
//! client would not send such a request.

mod auth;
mod bodies;
mod child;
mod connections;
mod deadline;
mod docs;
mod limits;
mod metrics;
mod openapi;
mod otlp;
mod problem_texts;
mod problems;
mod server;
mod shutdown;
mod supervise;
mod tracing;
