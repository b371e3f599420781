//! The kit as a client sees it: over a real listener, with a real client, and
//! byte by byte where a client would not send such a thing.

mod auth;
mod bodies;
mod child;
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
mod tracing;
