//! How waiting works at the nodes: who is woken, and what is left of those who gave up.

use crate::support::{eventually, granted, granted_in_time, keys, long, nodes, patiently, redlock, resource};

/// Who the first node knows to be waiting.
async fn waiting(nodes: &[testbed::RedisNode]) -> usize {
    let count = nodes[0].command(&["ZCARD", "wait:sku:1"]).await.expect("a count");
    count.parse().expect("a number")
}

#[tokio::test]
async fn clients_are_served_in_the_order_in_which_they_came() {
    let nodes = nodes(5).await;
    let holder = granted(&redlock(&nodes), &resource("sku:1"), long()).await;
    let (served, mut order) = tokio::sync::mpsc::unbounded_channel();
    for number in 0..4 {
        let (client, served) = (redlock(&nodes), served.clone());
        tokio::spawn(async move {
            let grant = granted_in_time(&client, &resource("sku:1"), long()).await;
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

#[tokio::test]
async fn only_the_head_of_a_clients_queue_stands_at_the_nodes() {
    let nodes = nodes(5).await;
    let client = redlock(&nodes);
    let _holder = granted(&redlock(&nodes), &resource("sku:1"), long()).await;
    let mut waiters = tokio::task::JoinSet::new();
    for _ in 0..20 {
        let client = client.clone();
        waiters.spawn(async move { client.try_lock(&resource("sku:1"), patiently(), long()).await });
    }
    // All of them have been polled before the first answer to this comes.
    eventually("somebody stands at the nodes", async || waiting(&nodes).await > 0).await;
    assert_eq!(waiting(&nodes).await, 1);
    waiters.shutdown().await;
    eventually("nobody stands there any more", async || waiting(&nodes).await == 0).await;
}

#[tokio::test]
async fn the_turn_of_a_client_that_died_goes_to_the_next() {
    let nodes = nodes(5).await;
    let holder = granted(&redlock(&nodes), &resource("sku:1"), long()).await;
    // Registered first, by a client of which nothing is left: no connection, so no subscription.
    for node in &nodes {
        node.command(&["ZADD", "wait:sku:1", "1", "dead.client:7"]).await.expect("an entry");
    }
    let client = redlock(&nodes);
    let next = tokio::spawn(async move { granted_in_time(&client, &resource("sku:1"), long()).await });
    eventually("the living one stands behind it", async || waiting(&nodes).await == 2).await;
    holder.release().await.expect("a quorum");
    next.await.expect("it was woken").release().await.expect("a quorum");
}

#[tokio::test]
async fn a_woken_waiter_that_gives_up_hands_its_turn_on() {
    let nodes = nodes(5).await;
    let holder = granted(&redlock(&nodes), &resource("sku:1"), long()).await;
    let (gives_up, stays) = (redlock(&nodes), redlock(&nodes));
    let first = tokio::spawn(async move { gives_up.try_lock(&resource("sku:1"), patiently(), long()).await });
    eventually("the first one waits", async || waiting(&nodes).await == 1).await;
    let second = tokio::spawn(async move { granted_in_time(&stays, &resource("sku:1"), long()).await });
    eventually("the second one waits", async || waiting(&nodes).await == 2).await;
    let release = tokio::spawn(holder.release());
    first.abort();
    release.await.expect("no panic").expect("a quorum");
    second.await.expect("its turn came").release().await.expect("a quorum");
    eventually("nothing is left behind", async || keys(&nodes, "sku:1").await.is_empty()).await;
}
