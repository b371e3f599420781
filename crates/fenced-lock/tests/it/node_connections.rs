//! Redlock while the connections to its nodes fall silent, end, or are refused.

use std::time::Duration;

use fenced_lock::{ReleaseOutcome, Wait};
use tokio::time::Instant;

use crate::support::{
    connected, eventually, granted, granted_in_time, keys, lease, long_lease, long_timeout, nodes, proxied, redlock,
    resource, short_timeout,
};

#[tokio::test]
async fn a_node_at_maxclients_gets_at_most_two_connection_attempts_a_second() {
    let nodes = nodes(5).await;
    let locks = redlock(&nodes);
    connected(&locks, &nodes).await;
    // Takes the only place, so that every new connection is accepted and closed.
    let client = redis::Client::open(nodes[0].url()).expect("an address");
    let mut admin = client.get_multiplexed_async_connection().await.expect("a connection");
    let limit = |clients: &str| {
        let mut set = redis::cmd("CONFIG");
        set.arg("SET").arg("maxclients").arg(clients);
        set
    };
    limit("1").exec_async(&mut admin).await.expect("a limit");
    let mut kill = redis::cmd("CLIENT");
    kill.arg("KILL").arg("SKIPME").arg("yes").exec_async(&mut admin).await.expect("closed connections");
    let seconds = 3;
    let end = Instant::now() + Duration::from_secs(seconds);
    while Instant::now() < end {
        granted(&locks, &resource("sku:1"), long_lease()).await.release().await.expect("four nodes answer");
    }
    let info: String = redis::cmd("INFO").arg("stats").query_async(&mut admin).await.expect("numbers");
    let rejected = info.lines().find_map(|line| line.strip_prefix("rejected_connections:")).expect("a number");
    let rejected: u64 = rejected.trim().parse().expect("a number");
    // Two a second, and the first one.
    assert!((1..=2 * seconds + 1).contains(&rejected), "{rejected} connections in {seconds} s");
    limit("1000").exec_async(&mut admin).await.expect("a limit");
    connected(&locks, &nodes).await;
}

#[tokio::test]
async fn silent_connections_are_replaced_two_node_timeouts_after_the_first_overdue_answer() {
    let (nodes, proxies, urls) = proxied(5).await;
    let locks = fenced_lock::Locks::redlock(urls, short_timeout());
    connected(&locks, &nodes).await;
    proxies.iter().for_each(testbed::Proxy::silence_established);
    let overdue = Instant::now() + short_timeout().node_timeout();
    // One call: time must be enough to notice.
    locks.try_lock(&resource("sku:1"), Wait::none(), long_lease()).await.expect_err("no answer");
    tokio::time::sleep_until(overdue + 2 * short_timeout().node_timeout()).await;
    granted(&locks, &resource("sku:1"), long_lease()).await.release().await.expect("five nodes answer");
}

#[tokio::test]
async fn a_silent_minority_is_noticed_though_no_caller_waits_for_it() {
    let (nodes, proxies, urls) = proxied(2).await;
    let locks = fenced_lock::Locks::redlock(urls, short_timeout());
    connected(&locks, &nodes).await;
    proxies.iter().for_each(testbed::Proxy::silence_established);
    let overdue = Instant::now() + short_timeout().node_timeout();
    let grant = granted(&locks, &resource("sku:1"), long_lease()).await;
    assert_eq!(keys(&nodes, "sku:1").await.len(), 3);
    tokio::time::sleep_until(overdue + 2 * short_timeout().node_timeout()).await;
    drop(grant);
    let next = granted_in_time(&locks, &resource("sku:2"), long_lease()).await;
    eventually("the lock is on all nodes", async || keys(&nodes, "sku:2").await.len() == 5).await;
    next.release().await.expect("five nodes answer");
}

#[tokio::test]
async fn cut_connections_are_reestablished() {
    let (_nodes, proxies, urls) = proxied(3).await;
    let locks = fenced_lock::Locks::redlock(urls, long_timeout());
    for _ in 0..3 {
        let grant = granted(&locks, &resource("sku:1"), long_lease()).await;
        for proxy in &proxies {
            proxy.cut();
        }
        assert!(locks.ready().await.is_err(), "three of five are cut off");
        for proxy in &proxies {
            proxy.heal();
        }
        assert_eq!(grant.release().await.expect("five nodes answer"), ReleaseOutcome::Released);
    }
}

#[tokio::test]
async fn nodes_that_are_slower_than_the_lease_grant_nothing() {
    let (nodes, proxies, urls) = proxied(3).await;
    let locks = fenced_lock::Locks::redlock(urls, long_timeout());
    connected(&locks, &nodes).await;
    for proxy in &proxies {
        proxy.set_latency(Duration::from_millis(100));
    }
    let error = locks.try_lock(&resource("sku:1"), Wait::none(), lease(50)).await.expect_err("too late");
    assert!(error.retryable(), "{error}");
    eventually("nothing is left behind", async || keys(&nodes, "sku:1").await.is_empty()).await;
}
