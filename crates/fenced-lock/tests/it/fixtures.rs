//! The backends as the conformance suite sees them: how to start one, and how to look behind it.
//! A new backend is one struct here and one line in `main.rs`.

use std::time::Duration;

use fenced_lock::{Lease, Locks, NodeUrl};
use testbed::RedisNode;

use crate::support;

/// A backend with servers of its own.
pub(crate) trait Fixture: Sized {
    /// Why there are no tokens, if there are none.
    const NO_TOKENS: Option<&'static str>;

    /// Starts its servers.
    async fn start() -> Self;

    /// A new client with connections and queues of its own, as another process would have.
    fn client(&self) -> Locks;

    /// The shortest lease the backend really gives.
    fn short_lease(&self) -> Lease;

    /// Everything that the servers still know about who holds or awaits `resource`; empty when
    /// nobody does.
    async fn left_behind(&self, resource: &str) -> Vec<String>;
}

/// Redlock.
pub(crate) struct FiveNodes(Vec<RedisNode>);

impl Fixture for FiveNodes {
    const NO_TOKENS: Option<&'static str> = None;

    async fn start() -> Self {
        Self(support::nodes(5).await)
    }

    fn client(&self) -> Locks {
        support::redlock(&self.0)
    }

    fn short_lease(&self) -> Lease {
        Lease::new(Duration::from_secs(2)).expect("a lease")
    }

    async fn left_behind(&self, resource: &str) -> Vec<String> {
        support::keys(&self.0, resource).await
    }
}

/// One Redis node.
pub(crate) struct SingleNode(Vec<RedisNode>);

impl Fixture for SingleNode {
    const NO_TOKENS: Option<&'static str> = Some("a counter on one node is lost with it");

    async fn start() -> Self {
        Self(support::nodes(1).await)
    }

    fn client(&self) -> Locks {
        Locks::redis(NodeUrl::parse(&self.0[0].url()).expect("a node's address"), support::patient())
    }

    fn short_lease(&self) -> Lease {
        Lease::new(Duration::from_secs(2)).expect("a lease")
    }

    async fn left_behind(&self, resource: &str) -> Vec<String> {
        support::keys(&self.0, resource).await
    }
}
