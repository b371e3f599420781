//! Names of owners: unique for each acquisition, so that a retried release cannot free a newer lock.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Names the acquisitions of one client.
#[derive(Debug)]
pub(super) struct OwnerNames {
    client_id: Arc<str>,
    next_number: AtomicU64,
}

impl OwnerNames {
    pub(super) fn new(client_name: &str) -> Self {
        let client_id = format!("{client_name}.{}", uuid::Uuid::now_v7().simple()).into();
        Self { client_id, next_number: AtomicU64::new(1) }
    }

    /// `{client id}.{number}`.
    pub(super) fn next(&self) -> Arc<str> {
        format!("{}.{}", self.client_id(), self.next_number()).into()
    }

    /// `{client name}.{unique id}`.
    pub(super) fn client_id(&self) -> &Arc<str> {
        &self.client_id
    }

    /// A number that this client uses once.
    pub(super) fn next_number(&self) -> u64 {
        self.next_number.fetch_add(1, Ordering::Relaxed)
    }
}
