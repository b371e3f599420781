//! What the locks promise, shown on real servers.

mod redlock;
mod support;
