//! Waiting at the Redis nodes: which waiter is woken, and that waiters that gave up leave nothing behind.

use fenced_lock::{Locks, ReleaseOutcome};
use testbed::RedisNode;

use crate::support::{
    connected, eventually, granted, granted_in_time, keys, long_lease, long_wait, nodes, redlock, resource,
};

/// How many waiters are registered at the first node.
async fn registered_waiters(nodes: &[RedisNode]) -> usize {
    let count = nodes[0].command(&["ZCARD", "wait:{sku:1}"]).await.expect("a count");
    count.parse().expect("a number")
}

#[tokio::test]
async fn clients_are_served_in_arrival_order() {
    let nodes = nodes(5).await;
    let holder = granted(&redlock(&nodes), &resource("sku:1"), long_lease()).await;
    let (served, mut order) = tokio::sync::mpsc::unbounded_channel();
    for number in 0..4 {
        let (client, served) = (redlock(&nodes), served.clone());
        tokio::spawn(async move {
            let grant = granted_in_time(&client, &resource("sku:1"), long_lease()).await;
            served.send(number).expect("the test receives");
            grant.release().await.expect("a quorum");
        });
        eventually("the waiter is registered", async || registered_waiters(&nodes).await == number + 1).await;
    }
    drop(served);
    holder.release().await.expect("a quorum");
    let mut numbers = Vec::new();
    while let Some(number) = order.recv().await {
        numbers.push(number);
    }
    assert_eq!(numbers, [0, 1, 2, 3]);
}

/// Two of five nodes have a long lease that was never released, which is no quorum. The nodes that would show it
/// do not answer when the waiter asks.
#[tokio::test]
async fn long_leases_on_a_minority_do_not_delay_a_waiter() {
    let nodes = nodes(5).await;
    let client = redlock(&nodes);
    connected(&client, &nodes).await;
    let hold = async |node: &RedisNode, millis: &str| {
        let value = "owner:another:token:1:expiry:1";
        node.command(&["SET", "lock:{sku:1}", value, "PX", millis]).await.expect("a lock");
    };
    for node in &nodes[..2] {
        hold(node, "600000").await;
    }
    for node in &nodes[2..] {
        hold(node, "5000").await;
    }
    let paused = &nodes[3..];
    paused.iter().for_each(RedisNode::pause);
    let released = async {
        eventually("the waiter is registered at three nodes", async || {
            let mut registered = true;
            for node in 0..3 {
                registered &= registered_waiters(&nodes[node..]).await == 1;
            }
            registered
        })
        .await;
        paused.iter().for_each(RedisNode::resume);
    };
    let sku = resource("sku:1");
    let (grant, ()) = tokio::join!(granted_in_time(&client, &sku, long_lease()), released);
    assert_eq!(grant.release().await.expect("a quorum"), ReleaseOutcome::Released);
}

#[tokio::test]
async fn only_the_head_of_a_clients_queue_is_registered_at_the_nodes() {
    let nodes = nodes(5).await;
    let client = redlock(&nodes);
    let _holder = granted(&redlock(&nodes), &resource("sku:1"), long_lease()).await;
    let mut waiters = tokio::task::JoinSet::new();
    for _ in 0..20 {
        let client = client.clone();
        waiters.spawn(async move { client.try_lock(&resource("sku:1"), long_wait(), long_lease()).await });
    }
    // All of them have been polled before the first answer to this command arrives.
    eventually("a waiter is registered", async || registered_waiters(&nodes).await > 0).await;
    assert_eq!(registered_waiters(&nodes).await, 1);
    waiters.shutdown().await;
    eventually("no waiter is registered any more", async || registered_waiters(&nodes).await == 0).await;
}

#[tokio::test]
async fn a_dead_clients_turn_goes_to_the_next_waiter() {
    let nodes = nodes(5).await;
    let holder = granted(&redlock(&nodes), &resource("sku:1"), long_lease()).await;
    // Registered first, by a client without a connection, so without a subscription.
    for node in &nodes {
        node.command(&["ZADD", "wait:{sku:1}", "1", "dead.client:7"]).await.expect("an entry");
    }
    let client = redlock(&nodes);
    let next = tokio::spawn(async move { granted_in_time(&client, &resource("sku:1"), long_lease()).await });
    eventually("the second waiter is registered", async || registered_waiters(&nodes).await == 2).await;
    holder.release().await.expect("a quorum");
    next.await.expect("no panic").release().await.expect("a quorum");
}

#[tokio::test]
async fn a_woken_waiter_that_gives_up_wakes_the_next_one() {
    let nodes = nodes(5).await;
    let holder = granted(&redlock(&nodes), &resource("sku:1"), long_lease()).await;
    let (gives_up, stays) = (redlock(&nodes), redlock(&nodes));
    let first = tokio::spawn(async move { gives_up.try_lock(&resource("sku:1"), long_wait(), long_lease()).await });
    eventually("the first one waits", async || registered_waiters(&nodes).await == 1).await;
    let second = tokio::spawn(async move { granted_in_time(&stays, &resource("sku:1"), long_lease()).await });
    eventually("the second one waits", async || registered_waiters(&nodes).await == 2).await;
    let release = tokio::spawn(holder.release());
    first.abort();
    release.await.expect("no panic").expect("a quorum");
    second.await.expect("no panic").release().await.expect("a quorum");
    eventually("nothing is left behind", async || keys(&nodes, "sku:1").await.is_empty()).await;
}

#[tokio::test]
async fn consecutive_handoffs_inside_a_client_are_limited_while_others_wait() {
    let nodes = nodes(5).await;
    let (ours, other) = (redlock(&nodes), redlock(&nodes));
    let holder = granted(&ours, &resource("sku:1"), long_lease()).await;
    let (served, mut order) = tokio::sync::mpsc::unbounded_channel();
    let wait = |client: Locks, name: &'static str| {
        let served = served.clone();
        async move {
            let grant = granted_in_time(&client, &resource("sku:1"), long_lease()).await;
            served.send((name, grant)).expect("the test receives");
        }
    };
    tokio::spawn(wait(other, "the other"));
    eventually("the other waits first", async || registered_waiters(&nodes).await == 1).await;
    for _ in 0..9 {
        tokio::spawn(wait(ours.clone(), "ours"));
    }
    drop(served);
    let (mut grant, mut names) = (holder, Vec::new());
    loop {
        if !names.contains(&"the other") {
            eventually("the next local waiter is registered too", async || registered_waiters(&nodes).await == 2).await;
        }
        grant.release().await.expect("a quorum");
        let Some((name, next)) = order.recv().await else {
            break;
        };
        names.push(name);
        grant = next;
    }
    assert_eq!(names.iter().position(|name| *name == "the other"), Some(7), "{names:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cancelled_next_local_waiter_does_not_block_waiters_of_other_clients() {
    let nodes = nodes(5).await;
    let (ours, other) = (redlock(&nodes), redlock(&nodes));
    for _ in 0..50 {
        let holder = granted_in_time(&ours, &resource("sku:1"), long_lease()).await;
        let client = ours.clone();
        let next_local =
            tokio::spawn(async move { client.try_lock(&resource("sku:1"), long_wait(), long_lease()).await });
        eventually("the next local waiter is registered", async || registered_waiters(&nodes).await == 1).await;
        let other = other.clone();
        let other = tokio::spawn(async move { granted_in_time(&other, &resource("sku:1"), long_lease()).await });
        eventually("a waiter of the other client is registered", async || registered_waiters(&nodes).await == 2).await;
        let release = tokio::spawn(holder.release());
        next_local.abort();
        // Where the abort came too late, the waiter has been granted the lock. Dropping its task releases it.
        drop(next_local);
        release.await.expect("no panic").expect("a quorum");
        other.await.expect("no panic").release().await.expect("a quorum");
    }
    eventually("nothing is left behind", async || keys(&nodes, "sku:1").await.is_empty()).await;
}
