//! What the checks read. Plain data.

use super::snapshot::DbSnapshot;
use crate::workload::operation::Operation;

/// What the checks read.
#[derive(Debug, Clone, Copy)]
pub struct Evidence<'a> {
    /// Both databases.
    pub snapshot: &'a DbSnapshot,
    /// Requests and answers of the attack; absent when databases are audited without a history.
    pub history: Option<&'a [Operation]>,
}
