//! What several faults do, each step in a file.

pub(super) mod lock_probe;
pub(super) mod partition;
pub(super) mod poll;
pub(super) mod redis_outage;
pub(super) mod self_pause;
