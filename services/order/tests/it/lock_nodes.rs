//! Lock nodes that crash, lose their data and restart.

use serde_json::json;

use crate::{
    process::replica,
    stack::{Reply, Setup, Stack, eventually, order_body},
};

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
    eventually("the quorum is back", async || stack.place("k", "chair", 1).await.status == 201).await;
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

#[tokio::test]
async fn orders_for_one_and_for_several_skus_are_placed_under_lock_nodes_in_cluster_mode() {
    let stack = Stack::with(Setup { redis_nodes: 5, cluster_mode: true, ..Setup::default() }).await;
    stack.put_stock("chair", 10).await;
    stack.put_stock("table", 10).await;

    stack.place("one", "chair", 1).await.is(201, "");
    let lines = json!([{ "sku": "table", "quantity": 2 }, { "sku": "chair", "quantity": 3 }]);
    let both = Reply::of(stack.post("both").json(&json!({ "customer": "ada", "lines": lines }))).await;

    assert_eq!(both.status, 201, "{}", both.body);
    assert_eq!((stack.available("chair").await, stack.available("table").await), (6, 8));
    assert_eq!(stack.get("/readyz").await.status, 200);
}

#[tokio::test]
async fn a_lock_server_that_answers_under_two_names_only_later_sells_nothing_and_is_logged_once() {
    let stack = Stack::start().await;
    stack.put_stock("chair", 1).await;
    let mut servers = testbed::redis_nodes(2).await.expect("redis nodes");
    let (addr, port) = (servers[0].addr(), servers[0].addr().port());
    let nodes = format!("redis://{addr},redis://localhost:{port},{}", servers[1].url());
    servers[0].kill().await;
    let running = replica(&stack, "two-names", &[("ORDER_LOCK_NODES", &nodes)]).await;
    let ready = || stack.http.get(format!("{}/readyz", running.url));
    assert_eq!(Reply::of(ready()).await.status, 503, "one of three nodes answers");
    let logged = || std::fs::read_to_string(&running.log).expect("a log").matches("its votes are not counted").count();

    servers[0].restart().await.expect("a restart");
    eventually("the server is found under both names", async || {
        let _ = Reply::of(ready()).await;
        logged() > 0
    })
    .await;

    for key in ["first", "second"] {
        let order = stack.http.post(format!("{}/v1/orders", running.url)).header("idempotency-key", key);
        let refused = Reply::of(order.json(&order_body("chair", 1))).await;
        refused.is(503, "lock_quorum_unavailable").asks_to_retry();
    }
    assert_eq!(Reply::of(ready()).await.status, 503);
    assert_eq!((logged(), stack.available("chair").await), (1, 1));
}

/// Sets or ends a state in which lock nodes answer every read and grant nothing, and looks at `/readyz` and an order.
async fn readiness_follows_grants(begin: &[&str], end: &[&str]) {
    let stack = Stack::with(Setup { redis_nodes: 5, ..Setup::default() }).await;
    stack.put_stock("chair", 10).await;
    let on_nodes = async |nodes: std::ops::Range<usize>, command: &[&str]| {
        for node in &stack.redis[nodes] {
            node.command(command).await.expect("redis");
        }
    };

    on_nodes(0..2, begin).await;
    assert_eq!(stack.get("/readyz").await.status, 200, "a quorum grants locks");
    stack.place("a minority", "chair", 1).await.is(201, "");

    on_nodes(2..5, begin).await;
    let ready = stack.get("/readyz").await;
    assert_eq!(ready.status, 503, "{}", ready.body);
    stack.place("none", "chair", 1).await.is(503, "lock_quorum_unavailable").asks_to_retry();
    assert_eq!(stack.available("chair").await, 9);

    on_nodes(0..5, end).await;
    eventually("ready again", async || stack.get("/readyz").await.status == 200).await;
    eventually("sold again", async || stack.place("again", "chair", 1).await.status == 201).await;
}

#[tokio::test]
async fn lock_nodes_that_are_out_of_memory_make_the_service_not_ready_until_they_grant_again() {
    readiness_follows_grants(&["CONFIG", "SET", "maxmemory", "1"], &["CONFIG", "SET", "maxmemory", "0"]).await;
}

#[tokio::test]
async fn lock_nodes_that_are_read_only_replicas_make_the_service_not_ready_until_they_grant_again() {
    // Nothing listens on port 1: the replica keeps its data and accepts no writes.
    readiness_follows_grants(&["REPLICAOF", "127.0.0.1", "1"], &["REPLICAOF", "NO", "ONE"]).await;
}
