//! Redlock with nodes that are down, do not answer, have lost their memory, or answer wrongly.

use std::time::Duration;

use fenced_lock::{FailureKind, LockError, Options, ReleaseOutcome, Wait};
use tokio::time::Instant;

use crate::support::{
    assert_contended, connected, eventually, granted, granted_in_time, keys, long_lease, long_wait, node_timeout,
    nodes, proxied, redlock, redlock_with, resource, short_timeout, token, values,
};

#[tokio::test]
async fn a_grant_is_on_every_node_in_the_documented_format() {
    let nodes = nodes(5).await;
    let locks = redlock(&nodes);
    let grant = granted(&locks, &resource("sku:42"), long_lease()).await;
    let start = format!("owner:{}:token:1:expiry:", grant.owner());
    eventually("the lock is on all nodes", async || {
        let values = values(&nodes, "lock:{sku:42}").await;
        values.iter().all(|value| {
            let expiry = value.strip_prefix(&start).and_then(|expiry| expiry.parse::<u64>().ok());
            expiry.is_some_and(|millis| millis > 1_600_000_000_000)
        })
    })
    .await;
    assert_eq!(values(&nodes, "fence:{sku:42}").await, ["1"; 5]);
    let ttl = nodes[0].command(&["PTTL", "fence:{sku:42}"]).await.expect("a TTL");
    assert!(ttl.parse::<u64>().is_ok_and(|ttl| ttl > 24 * 3600 * 1000), "a counter outlives every lease: {ttl}");
}

#[tokio::test]
async fn validity_leaves_room_for_drift() {
    let nodes = nodes(5).await;
    let grant = granted(&redlock(&nodes), &resource("sku:1"), long_lease()).await;
    // 1 % of the lease and 2 ms: far more than the acquisition takes, so that a missing allowance shows.
    let drift = long_lease().get() / 100 + Duration::from_millis(2);
    assert!(grant.valid_until() <= Instant::now() + long_lease().get() - drift);
    grant.extend(long_lease()).await.expect("still held");
    assert!(grant.valid_until() <= Instant::now() + long_lease().get() - drift);
}

#[tokio::test]
async fn with_a_minority_down_everything_works() {
    let mut nodes = nodes(5).await;
    let locks = redlock(&nodes);
    let before = granted(&locks, &resource("sku:1"), long_lease()).await;
    nodes[0].kill().await;
    nodes[3].kill().await;
    before.extend(long_lease()).await.expect("three nodes hold the lock");
    assert_contended(&locks, &resource("sku:1")).await;
    assert_eq!(before.release().await.expect("three nodes answer"), ReleaseOutcome::Released);
    let after = granted(&locks, &resource("sku:1"), long_lease()).await;
    assert_eq!(after.release().await.expect("three nodes answer"), ReleaseOutcome::Released);
}

#[tokio::test]
async fn with_a_majority_down_it_fails_closed_and_leaves_nothing_behind() {
    let mut nodes = nodes(5).await;
    let locks = redlock(&nodes);
    connected(&locks, &nodes).await;
    for node in &mut nodes[..3] {
        node.kill().await;
    }
    let error = locks.try_lock(&resource("sku:1"), long_wait(), long_lease()).await.expect_err("no quorum");
    assert!(error.retryable());
    let LockError::QuorumUnavailable { needed: 3, answered: 2, of: 5, nodes: errors } = &error else {
        panic!("{error:?}");
    };
    assert_eq!(errors.len(), 3);
    for error in errors {
        // A command may be sent before the client learns that its connection has ended.
        assert!([FailureKind::Unreachable, FailureKind::Gone].contains(&error.kind()), "{error:?}");
        assert!(nodes[..3].iter().any(|node| node.addr().to_string() == error.node()), "{error}");
    }
    assert!(locks.ready().await.is_err());
    eventually("nothing is left behind", async || keys(&nodes[3..], "sku:1").await.is_empty()).await;
    for node in &mut nodes[..3] {
        node.restart().await.expect("a node that starts");
    }
    granted(&locks, &resource("sku:1"), long_lease()).await.release().await.expect("five nodes answer");
}

#[tokio::test]
async fn with_a_majority_hanging_it_fails_within_its_deadline_and_leaves_nothing_behind() {
    let nodes = nodes(5).await;
    let locks = redlock_with(&nodes, short_timeout());
    connected(&locks, &nodes).await;
    for node in &nodes[..3] {
        node.pause();
    }
    let sku = resource("sku:1");
    let acquire = locks.try_lock(&sku, long_wait(), long_lease());
    let error =
        tokio::time::timeout(Duration::from_secs(10), acquire).await.expect("a deadline").expect_err("no quorum");
    let LockError::QuorumUnavailable { answered: 2, nodes: errors, .. } = &error else { panic!("{error:?}") };
    assert!(errors.iter().all(|error| error.kind() == FailureKind::Silent), "{errors:?}");
    for node in &nodes[..3] {
        node.resume();
    }
    // The stopped nodes execute what they received: the acquire, and then its release.
    eventually("the resumed nodes have executed both", async || {
        values(&nodes, "fence:{sku:1}").await.iter().all(|counter| counter == "1")
            && keys(&nodes, "sku:1").await.is_empty()
    })
    .await;
    granted(&locks, &resource("sku:1"), long_lease()).await.release().await.expect("five nodes answer");
}

#[tokio::test]
async fn a_stopped_minority_does_not_delay() {
    let nodes = nodes(5).await;
    // Longer than the test waits below: it fails if an acquisition waits for the stopped nodes.
    let locks = redlock_with(&nodes, Options::default().with_node_timeout(node_timeout(10_000)));
    connected(&locks, &nodes).await;
    nodes[1].pause();
    nodes[4].pause();
    let work = async {
        // Many commands that these nodes never answer.
        for _ in 0..200 {
            let grant = granted(&locks, &resource("sku:1"), long_lease()).await;
            grant.extend(long_lease()).await.expect("three nodes hold the lock");
            assert_eq!(grant.release().await.expect("three nodes answer"), ReleaseOutcome::Released);
        }
    };
    tokio::time::timeout(Duration::from_secs(9), work).await.expect("no wait for the stopped nodes");
    nodes[1].resume();
    nodes[4].resume();
    eventually("nothing is left behind on the stopped nodes", async || keys(&nodes, "sku:1").await.is_empty()).await;
    // The resumed nodes are used again.
    connected(&locks, &nodes).await;
}

#[tokio::test]
async fn a_node_that_cannot_be_reached_at_first_is_used_later() {
    let mut nodes = nodes(5).await;
    for node in &mut nodes {
        node.kill().await;
    }
    let locks = redlock(&nodes);
    assert!(locks.ready().await.is_err());
    for node in &mut nodes {
        node.restart().await.expect("a node that starts");
    }
    locks.ready().await.expect("a quorum answers");
}

#[tokio::test]
async fn between_two_attempts_to_connect_the_reason_of_the_last_failure_is_reported() {
    let mut nodes = nodes(1).await;
    // Shorter than the pause between two attempts: most calls end before the next one.
    let locks = redlock_with(&nodes, Options::default().with_node_timeout(node_timeout(10)));
    eventually("connected", async || locks.ready().await.is_ok()).await;
    nodes[0].kill().await;
    let kind = async || locks.ready().await.expect_err("no node").failure_kind();
    eventually("the connection was refused", async || kind().await == Some(FailureKind::Unreachable)).await;
    for _ in 0..30 {
        assert_eq!(kind().await, Some(FailureKind::Unreachable));
    }
    nodes[0].restart().await.expect("a node that starts");
    eventually("connected again", async || locks.ready().await.is_ok()).await;
}

#[tokio::test]
async fn a_full_node_refuses_and_a_replica_is_read_only() {
    let nodes = nodes(1).await;
    let locks = redlock(&nodes);
    let kind = async || {
        let refused = locks.try_lock(&resource("sku:1"), Wait::none(), long_lease()).await;
        refused.expect_err("nothing is granted").failure_kind()
    };
    nodes[0].command(&["CONFIG", "SET", "maxmemory", "1"]).await.expect("a limit");
    assert_eq!(kind().await, Some(FailureKind::Refused));
    nodes[0].command(&["CONFIG", "SET", "maxmemory", "0"]).await.expect("no limit");
    // Nothing listens there, so that it stays what it is.
    nodes[0].command(&["REPLICAOF", "127.0.0.1", "1"]).await.expect("a replica");
    assert_eq!(kind().await, Some(FailureKind::ReadOnly));
}

#[tokio::test]
async fn a_node_that_answers_wrongly_is_reported_as_wrong_answer() {
    let nodes = nodes(3).await;
    for node in &nodes[..2] {
        node.command(&["LPUSH", "fence:{sku:1}", "no counter"]).await.expect("a list");
    }
    let error = redlock(&nodes).try_lock(&resource("sku:1"), Wait::none(), long_lease()).await.expect_err("no quorum");
    let LockError::QuorumUnavailable { answered: 1, nodes: errors, .. } = &error else { panic!("{error:?}") };
    assert!(errors.iter().all(|error| error.kind() == FailureKind::WrongAnswer), "{errors:?}");
    assert!(error.to_string().contains("WRONGTYPE"), "the error has its cause: {error}");
    eventually("nothing is left behind", async || keys(&nodes, "sku:1").await.is_empty()).await;
}

#[tokio::test]
async fn a_script_flush_is_survived() {
    let nodes = nodes(5).await;
    let locks = redlock(&nodes);
    let grant = granted(&locks, &resource("sku:1"), long_lease()).await;
    for flush in 0..3 {
        for node in &nodes {
            node.command(&["SCRIPT", "FLUSH"]).await.expect("scripts flushed");
        }
        grant.extend(long_lease()).await.expect("still held");
        let other = granted(&locks, &resource(&format!("sku:other-{flush}")), long_lease()).await;
        for node in &nodes {
            node.command(&["SCRIPT", "FLUSH"]).await.expect("scripts flushed");
        }
        assert_eq!(other.release().await.expect("a quorum"), ReleaseOutcome::Released);
    }
    assert_eq!(grant.release().await.expect("a quorum"), ReleaseOutcome::Released);
}

#[tokio::test]
async fn a_rolling_restart_during_work_is_survived() {
    let mut nodes = nodes(5).await;
    let locks = redlock(&nodes);
    let (stop, mut stopped) = tokio::sync::oneshot::channel::<()>();
    let worker = tokio::spawn(async move {
        let mut rounds = 0;
        let mut last = 0;
        while stopped.try_recv().is_err() {
            let grant = granted_in_time(&locks, &resource("sku:1"), long_lease()).await;
            assert!(token(&grant) > last, "only one node at a time loses its memory");
            last = token(&grant);
            grant.release().await.expect("a quorum");
            rounds += 1;
        }
        rounds
    });
    for i in 0..nodes.len() {
        let probe = redlock(&nodes);
        nodes[i].restart().await.expect("a node that starts");
        // Each node takes part in a grant before the next one restarts, so that a quorum has the counters.
        eventually("the restarted node takes part in a grant", async || {
            let _ = probe.ready().await;
            !values(&nodes[i..=i], "fence:{sku:1}").await[0].is_empty()
        })
        .await;
    }
    stop.send(()).expect("the worker runs");
    assert!(worker.await.expect("no panic") > 0);
}

#[tokio::test]
async fn a_waiter_survives_a_rolling_restart() {
    let mut nodes = nodes(5).await;
    let holder = granted(&redlock(&nodes), &resource("sku:1"), long_lease()).await;
    let waiter = redlock(&nodes);
    let waiting = tokio::spawn(async move { granted_in_time(&waiter, &resource("sku:1"), long_lease()).await });
    for node in &mut nodes {
        node.restart().await.expect("a node that starts");
    }
    // The lock is lost with the memory of three nodes. Only the token protects the storage here.
    let grant = waiting.await.expect("no panic");
    grant.release().await.expect("a quorum");
    assert_eq!(holder.release().await.expect("a quorum"), ReleaseOutcome::NotHeld);
}

#[tokio::test]
async fn one_node_that_expires_early_does_not_lose_the_lock() {
    let nodes = nodes(5).await;
    let locks = redlock(&nodes);
    let grant = granted(&locks, &resource("sku:1"), long_lease()).await;
    eventually("the lock is on all nodes", async || keys(&nodes, "sku:1").await.len() == 5).await;
    nodes[2].command(&["DEL", "lock:{sku:1}"]).await.expect("a deleted key");
    assert_contended(&redlock(&nodes), &resource("sku:1")).await;
    grant.extend(long_lease()).await.expect("four nodes hold the lock");
    eventually("the grant of the refused caller on one node is released", async || {
        values(&nodes[2..=2], "lock:{sku:1}").await[0].is_empty()
    })
    .await;
    assert_eq!(grant.release().await.expect("a quorum"), ReleaseOutcome::Released);
}

#[tokio::test]
async fn a_lock_that_a_majority_forgot_is_lost() {
    let nodes = nodes(5).await;
    let grant = granted(&redlock(&nodes), &resource("sku:1"), long_lease()).await;
    eventually("the lock is on all nodes", async || keys(&nodes, "sku:1").await.len() == 5).await;
    for node in &nodes[..3] {
        node.command(&["DEL", "lock:{sku:1}"]).await.expect("a deleted key");
    }
    let error = grant.extend(long_lease()).await.expect_err("two of five are no quorum");
    assert!(matches!(error, LockError::Lost { .. }), "{error}");
    grant.lost().await;
    assert_eq!(grant.release().await.expect("a quorum"), ReleaseOutcome::NotHeld);
}

#[tokio::test]
async fn grants_whose_answers_were_lost_are_released() {
    let (nodes, proxies, urls) = proxied(3).await;
    let locks = fenced_lock::Locks::redlock(urls, short_timeout());
    connected(&locks, &nodes).await;
    for proxy in &proxies {
        proxy.drop_to_client(true);
    }
    let error = locks.try_lock(&resource("sku:1"), Wait::none(), long_lease()).await.expect_err("no quorum of answers");
    assert!(matches!(error, LockError::QuorumUnavailable { answered: 2, .. }), "{error}");
    eventually("the nodes have granted the lock and released it", async || {
        values(&nodes, "fence:{sku:1}").await.iter().all(|counter| counter == "1")
            && keys(&nodes, "sku:1").await.is_empty()
    })
    .await;
}

#[tokio::test]
async fn delayed_requests_are_released_when_they_arrive() {
    let (nodes, proxies, urls) = proxied(3).await;
    let locks = fenced_lock::Locks::redlock(urls, short_timeout());
    connected(&locks, &nodes).await;
    for proxy in &proxies {
        proxy.drop_to_upstream(true);
    }
    locks.try_lock(&resource("sku:1"), Wait::none(), long_lease()).await.expect_err("no quorum can be reached");
    assert_eq!(values(&nodes[..3], "fence:{sku:1}").await, [""; 3]);
    for proxy in &proxies {
        proxy.heal();
    }
    eventually("the nodes have granted the lock and released it", async || {
        values(&nodes, "fence:{sku:1}").await.iter().all(|counter| counter == "1")
            && keys(&nodes, "sku:1").await.is_empty()
    })
    .await;
}
