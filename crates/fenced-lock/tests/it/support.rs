//! What the tests have in common. No assertion lives here.

use std::time::Duration;

use fenced_lock::{Lease, Locks, NodeTimeout, NodeUrl, Nodes, Options, Resource};
use testbed::RedisNode;

pub(crate) fn resource(name: &str) -> Resource {
    Resource::new(name).expect("a resource name")
}

pub(crate) fn lease(millis: u64) -> Lease {
    Lease::new(Duration::from_millis(millis)).expect("a lease")
}

pub(crate) async fn nodes(n: usize) -> Vec<RedisNode> {
    testbed::redis_nodes(n).await.expect("redis nodes")
}

pub(crate) fn redlock(nodes: &[RedisNode]) -> Locks {
    redlock_with(nodes, Options::default())
}

pub(crate) fn redlock_with(nodes: &[RedisNode], options: Options) -> Locks {
    let urls = nodes
        .iter()
        .map(|node| NodeUrl::parse(&node.url()).expect("a node's address"));
    Locks::redlock(
        Nodes::new(urls.collect()).expect("an odd number of nodes"),
        options,
    )
}

/// Options for tests in which a majority is silent.
pub(crate) fn impatient() -> Options {
    Options::default()
        .with_node_timeout(NodeTimeout::new(Duration::from_millis(100)).expect("a timeout"))
}

/// What each node has for `key`, "" where it has nothing.
pub(crate) async fn values(nodes: &[RedisNode], key: &str) -> Vec<String> {
    let mut values = Vec::new();
    for node in nodes {
        values.push(node.command(&["GET", key]).await.expect("a value"));
    }
    values
}
