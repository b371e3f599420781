//! A request of a caller to a backend. Absence: no caller and no backend is named here.

use std::sync::Arc;

use tokio::time::Instant;

use crate::{Lease, Resource};

/// One call of `try_lock` or `try_lock_all`.
#[derive(Clone, Debug)]
pub(crate) struct Request {
    /// Sorted, without duplicates, never empty.
    pub(crate) resources: Arc<[Resource]>,
    pub(crate) lease: Lease,
    /// Until when contention is waited out.
    pub(crate) deadline: Instant,
    /// Whether the caller waits at all: false for `Wait::none()`.
    pub(crate) waits: bool,
    /// Whether other callers of this process were ahead in the queue of any of the resources.
    pub(crate) queued: bool,
}
