//! How waiting works at the nodes: who is woken, and what is left of those who gave up.

use fenced_lock::{Locks, ReleaseOutcome};
use testbed::RedisNode;

use crate::support::{
    connected, eventually, granted, granted_in_time, keys, long_lease, long_wait, nodes, redlock, resource,
};

/// Who the first node knows to be waiting.
async fn waiting(nodes: &[RedisNode]) -> usize {
    let count = nodes[0].command(&["ZCARD", "wait:sku:1"]).await.expect("a count");
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
            served.send(number).expect("the test listens");
            grant.release().await.expect("a quorum");
        });
        eventually("it stands at the nodes", async || waiting(&nodes).await == number + 1).await;
    }
    drop(served);
    holder.release().await.expect("a quorum");
    let mut numbers = Vec::new();
    while let Some(number) = order.recv().await {
        numbers.push(number);
    }
    assert_eq!(numbers, [0, 1, 2, 3]);
}

/// Two of five nodes were given a lease that nobody took back; that is no quorum. Those that would tell
/// of it are silent when the waiter asks.
#[tokio::test]
async fn long_leases_on_a_minority_do_not_delay_a_waiter() {
    let nodes = nodes(5).await;
    let client = redlock(&nodes);
    connected(&client, &nodes).await;
    let hold = async |node: &RedisNode, millis: &str| {
        let value = "owner:somebody:token:1:expiry:1";
        node.command(&["SET", "lock:sku:1", value, "PX", millis]).await.expect("a lock");
    };
    for node in &nodes[..2] {
        hold(node, "600000").await;
    }
    for node in &nodes[2..] {
        hold(node, "5000").await;
    }
    let silent = &nodes[3..];
    silent.iter().for_each(RedisNode::pause);
    let released = async {
        eventually("three nodes have told how long the lock is held", async || {
            let mut told = true;
            for node in 0..3 {
                told &= waiting(&nodes[node..]).await == 1;
            }
            told
        })
        .await;
        silent.iter().for_each(RedisNode::resume);
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
    // All of them have been polled before the first answer to this comes.
    eventually("somebody stands at the nodes", async || waiting(&nodes).await > 0).await;
    assert_eq!(waiting(&nodes).await, 1);
    waiters.shutdown().await;
    eventually("nobody stands there any more", async || waiting(&nodes).await == 0).await;
}

#[tokio::test]
async fn a_dead_clients_turn_goes_to_the_next_waiter() {
    let nodes = nodes(5).await;
    let holder = granted(&redlock(&nodes), &resource("sku:1"), long_lease()).await;
    // Registered first, by a client of which nothing is left: no connection, so no subscription.
    for node in &nodes {
        node.command(&["ZADD", "wait:sku:1", "1", "dead.client:7"]).await.expect("an entry");
    }
    let client = redlock(&nodes);
    let next = tokio::spawn(async move { granted_in_time(&client, &resource("sku:1"), long_lease()).await });
    eventually("the living one stands behind it", async || waiting(&nodes).await == 2).await;
    holder.release().await.expect("a quorum");
    next.await.expect("it was woken").release().await.expect("a quorum");
}

#[tokio::test]
async fn a_woken_waiter_that_gives_up_wakes_the_next_one() {
    let nodes = nodes(5).await;
    let holder = granted(&redlock(&nodes), &resource("sku:1"), long_lease()).await;
    let (gives_up, stays) = (redlock(&nodes), redlock(&nodes));
    let first = tokio::spawn(async move { gives_up.try_lock(&resource("sku:1"), long_wait(), long_lease()).await });
    eventually("the first one waits", async || waiting(&nodes).await == 1).await;
    let second = tokio::spawn(async move { granted_in_time(&stays, &resource("sku:1"), long_lease()).await });
    eventually("the second one waits", async || waiting(&nodes).await == 2).await;
    let release = tokio::spawn(holder.release());
    first.abort();
    release.await.expect("no panic").expect("a quorum");
    second.await.expect("its turn came").release().await.expect("a quorum");
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
            served.send((name, grant)).expect("the test listens");
        }
    };
    tokio::spawn(wait(other, "the other"));
    eventually("the other waits first", async || waiting(&nodes).await == 1).await;
    for _ in 0..9 {
        tokio::spawn(wait(ours.clone(), "ours"));
    }
    drop(served);
    let (mut grant, mut names) = (holder, Vec::new());
    loop {
        if !names.contains(&"the other") {
            eventually("the next of ours stands there too", async || waiting(&nodes).await == 2).await;
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
        let heir = ours.clone();
        let heir = tokio::spawn(async move { heir.try_lock(&resource("sku:1"), long_wait(), long_lease()).await });
        eventually("the heir waits", async || waiting(&nodes).await == 1).await;
        let other = other.clone();
        let other = tokio::spawn(async move { granted_in_time(&other, &resource("sku:1"), long_lease()).await });
        eventually("somebody waits elsewhere", async || waiting(&nodes).await == 2).await;
        let release = tokio::spawn(holder.release());
        heir.abort();
        // Where it came too late, the heir has the lock, and gives it back when nobody wants its grant.
        drop(heir);
        release.await.expect("no panic").expect("a quorum");
        other.await.expect("its turn came").release().await.expect("a quorum");
    }
    eventually("nothing is left behind", async || keys(&nodes, "sku:1").await.is_empty()).await;
}
