//! Containers: the engine's command line, and one server in a container.

pub(crate) mod container;
pub(crate) mod docker;
pub(crate) mod image;
