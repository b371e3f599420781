//! Shared helpers of the tests. They assert nothing about the locks but what their names say.

use std::time::Duration;

use fenced_lock::{Grant, Lease, Locks, NodeTimeout, NodeUrl, Nodes, Options, Resource, Wait};
use testbed::{Proxy, RedisNode};
use tokio::time::Instant;

/// Longer than any step of a test takes unless it hangs.
pub(crate) const TEST_TIMEOUT: Duration = Duration::from_secs(30);

pub(crate) fn resource(name: &str) -> Resource {
    Resource::new(name).expect("a resource name")
}

pub(crate) fn lease(millis: u64) -> Lease {
    Lease::new(Duration::from_millis(millis)).expect("a lease")
}

/// A lease that is longer than any test.
pub(crate) fn long_lease() -> Lease {
    lease(600_000)
}

pub(crate) fn long_wait() -> Wait {
    Wait::up_to(TEST_TIMEOUT)
}

pub(crate) async fn nodes(n: usize) -> Vec<RedisNode> {
    testbed::redis_nodes(n).await.expect("redis nodes")
}

pub(crate) fn redlock(nodes: &[RedisNode]) -> Locks {
    redlock_with(nodes, long_timeout())
}

/// Options for tests in which a quorum answers, however busy the machine is.
pub(crate) fn long_timeout() -> Options {
    Options::default().with_node_timeout(node_timeout(5_000))
}

pub(crate) fn redlock_with(nodes: &[RedisNode], options: Options) -> Locks {
    let urls = nodes.iter().map(|node| NodeUrl::parse(&node.url()).expect("a node's address"));
    Locks::redlock(Nodes::new(urls.collect()).expect("an odd number of nodes"), options)
}

/// Five nodes, the first `count` of them behind proxies.
pub(crate) async fn proxied(count: usize) -> (Vec<RedisNode>, Vec<Proxy>, Nodes) {
    let nodes = nodes(5).await;
    let mut proxies = Vec::new();
    let mut urls = Vec::new();
    for (i, node) in nodes.iter().enumerate() {
        let mut addr = node.addr();
        if i < count {
            let proxy = Proxy::start(addr).await.expect("a proxy");
            addr = proxy.addr();
            proxies.push(proxy);
        }
        urls.push(NodeUrl::parse(&format!("redis://{addr}")).expect("an address"));
    }
    (nodes, proxies, Nodes::new(urls).expect("five nodes"))
}

/// Options for tests in which a majority does not answer.
pub(crate) fn short_timeout() -> Options {
    Options::default().with_node_timeout(node_timeout(1_000))
}

pub(crate) fn node_timeout(millis: u64) -> NodeTimeout {
    NodeTimeout::new(Duration::from_millis(millis)).expect("a timeout")
}

/// Tries once; the lock must be granted.
pub(crate) async fn granted(locks: &Locks, resource: &Resource, lease: Lease) -> Grant {
    locks.try_lock(resource, Wait::none(), lease).await.expect("the nodes answer").expect("the lock is free")
}

/// Waits; the lock must be granted.
pub(crate) async fn granted_in_time(locks: &Locks, resource: &Resource, lease: Lease) -> Grant {
    locks.try_lock(resource, long_wait(), lease).await.expect("the nodes answer").expect("the lock becomes free")
}

/// Tries once; the lock must be held by another caller.
pub(crate) async fn assert_contended(locks: &Locks, resource: &Resource) {
    let grant = locks.try_lock(resource, Wait::none(), long_lease()).await.expect("the nodes answer");
    assert!(grant.is_none(), "{resource} is held, but was granted again: {grant:?}");
}

pub(crate) fn token(grant: &Grant) -> u64 {
    grant.token().expect("a token").get()
}

/// The value of `key` on each node, "" where there is none.
pub(crate) async fn values(nodes: &[RedisNode], key: &str) -> Vec<String> {
    let mut values = Vec::new();
    for node in nodes {
        values.push(node.command(&["GET", key]).await.expect("a value"));
    }
    values
}

/// Every lock and every wait list of `resource`, on any node.
pub(crate) async fn keys(nodes: &[RedisNode], resource: &str) -> Vec<String> {
    let mut keys = Vec::new();
    for (i, node) in nodes.iter().enumerate() {
        for kind in ["lock", "wait"] {
            let key = format!("{kind}:{{{resource}}}");
            if node.command(&["EXISTS", &key]).await.expect("an answer") == "1" {
                keys.push(format!("{key} on node {i}"));
            }
        }
    }
    keys
}

/// Polls `condition` until it is true. For changes that servers make by themselves and do not report.
pub(crate) async fn eventually<F>(what: &str, mut condition: impl FnMut() -> F)
where
    F: Future<Output = bool>,
{
    let deadline = Instant::now() + TEST_TIMEOUT;
    while !condition().await {
        assert!(Instant::now() < deadline, "not within {TEST_TIMEOUT:?}: {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// Resolves when `locks` is connected to all `nodes`, which a grant on all of them shows.
pub(crate) async fn connected(locks: &Locks, nodes: &[RedisNode]) {
    let warm_up = resource("warm-up");
    eventually("a grant is on all nodes", async || {
        let grant = granted_in_time(locks, &warm_up, long_lease()).await;
        let mut everywhere = false;
        for _ in 0..20 {
            everywhere = values(nodes, "lock:{warm-up}").await.iter().all(|value| value.contains(grant.owner()));
            if everywhere {
                break;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        grant.release().await.expect("a quorum");
        everywhere
    })
    .await;
}
