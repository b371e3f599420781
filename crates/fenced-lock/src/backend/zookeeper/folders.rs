//! The names of ZooKeeper's nodes: `/fenced-lock/{resource}/{owner}-{sequence}`.

use crate::Resource;
use crate::backend::path_segment::segment;

/// The parent of all folders.
pub(super) const ROOT: &str = "/fenced-lock";

/// The folder of `resource`.
pub(super) fn folder(resource: &Resource) -> String {
    format!("{ROOT}/{}", segment(resource))
}

/// The number that ZooKeeper gave the node, its position in the queue. Absent for nodes of other programs.
pub(super) fn sequence_number(node: &str) -> Option<i64> {
    node.rsplit_once('-')?.1.parse().ok()
}

/// Whether the node belongs to the acquisition of `owner`.
pub(super) fn belongs_to(node: &str, owner: &str) -> bool {
    node.strip_prefix(owner).is_some_and(|rest| rest.starts_with('-'))
}
