//! Lock nodes that crash, lose their data and restart.

use crate::stack::{Setup, Stack};

#[tokio::test]
async fn one_node_down_costs_nothing() {
    let mut stack = Stack::with(Setup { redis_nodes: 5, ..Setup::default() }).await;
    stack.put_stock("chair", 10).await;
    stack.place("before", "chair", 1).await.is(201, "");
    stack.redis[0].kill().await;

    for number in 0..5 {
        stack.place(&format!("k{number}"), "chair", 1).await.is(201, "");
    }

    assert_eq!(stack.get("/readyz").await.status, 200);
    assert_eq!(stack.available("chair").await, 4);
}

#[tokio::test]
async fn lock_quorum_unavailable_is_503_writes_nothing_and_ends_when_the_nodes_are_back() {
    let mut stack = Stack::with(Setup { redis_nodes: 5, ..Setup::default() }).await;
    stack.put_stock("chair", 10).await;
    stack.place("before", "chair", 1).await.is(201, "");
    for node in &mut stack.redis[..3] {
        node.kill().await;
    }

    let refused = stack.place("k", "chair", 1).await;

    refused.is(503, "lock_quorum_unavailable").asks_to_retry();
    assert_eq!((stack.available("chair").await, stack.reservations().await), (9, 1));
    assert_eq!(stack.order_status("k").await, "failed");
    assert_eq!(stack.get("/readyz").await.status, 503);

    for node in &mut stack.redis[..3] {
        node.restart().await.expect("restart");
    }
    // A connection may fail once more before the client reconnects.
    crate::stack::eventually("the quorum is back", async || stack.place("k", "chair", 1).await.status == 201).await;
    assert_eq!(stack.available("chair").await, 8);
    assert_eq!(stack.get("/readyz").await.status, 200);
}

#[tokio::test]
async fn counters_lost_on_every_node_are_raised_to_the_token_that_the_storage_has_registered() {
    let stack = Stack::start().await;
    stack.put_stock("chair", 10).await;
    for number in 0..4 {
        stack.place(&format!("before{number}"), "chair", 1).await.is(201, "");
    }
    let fence = stack.fence("chair").await;
    for node in &stack.redis {
        node.command(&["FLUSHALL"]).await.expect("redis");
    }

    let placed = stack.place("after", "chair", 1).await;

    assert_eq!(placed.status, 201, "{}", placed.body);
    assert!(stack.fence("chair").await > fence, "tokens continue from where they were");
    assert_eq!(stack.available("chair").await, 5);
}
