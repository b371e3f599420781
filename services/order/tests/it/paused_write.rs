//! The paused client of the papers: inventory stops itself as it enters a write,
//! the lease lapses, somebody else sells, and then the write goes on.

use order::config::LAB_TOKEN;
use reqwest::Method;
use serde_json::json;

use crate::{
    batching::{gather, shut},
    stack::{Inventory, Reply, Setup, Stack, eventually, order_body},
};

fn setup() -> Setup {
    let flags = &["--reconcile-ms=3600000"];
    Setup { inventories: 2, lease_ms: 2_000, flags, ..Setup::default() }
}

async fn arm(stack: &Stack, inventory: &Inventory, method: Method) {
    let url = format!("{}/v1/lab/pauses", inventory.url);
    let request = stack.http.request(method, url).bearer_auth(LAB_TOKEN);
    let answer = request.json(&json!({ "sku": "chair", "count": 1 })).send().await.expect("inventory");
    assert!(answer.status().is_success(), "{answer:?}");
}

/// Sends an order whose write stops a replica; gives the order, and which one stopped.
async fn place_parked(stack: &Stack, strategy: &str) -> (tokio::task::JoinHandle<Reply>, usize) {
    for inventory in &stack.inventories {
        arm(stack, inventory, Method::POST).await;
    }
    let request = stack.post("parked").header("lock-strategy", strategy).json(&order_body("chair", 1));
    let placing = tokio::spawn(Reply::of(request));
    let parked = which_stopped(stack).await;
    arm(stack, &stack.inventories[1 - parked], Method::DELETE).await;
    (placing, parked)
}

async fn which_stopped(stack: &Stack) -> usize {
    let stopped = tokio::select! {
        stopped = stack.inventories[0].process.stopped() => stopped.map(|()| 0),
        stopped = stack.inventories[1].process.stopped() => stopped.map(|()| 1),
    };
    stopped.expect("a replica stopped itself")
}

/// The pause is over; resolves when the parked write has ended, one way or the other.
async fn resume(stack: &Stack, parked: usize) -> String {
    let inventory = &stack.inventories[parked];
    inventory.process.resume();
    let url = format!("{}/v1/lab/pauses", inventory.url);
    let outcome = async || {
        let pauses = Reply::of(stack.http.get(&url).bearer_auth(LAB_TOKEN)).await;
        pauses.body["parked"][0]["outcome"].as_str().map(str::to_owned)
    };
    eventually("the parked write ended", async || outcome().await.is_some()).await;
    outcome().await.expect("it ended")
}

#[tokio::test]
async fn a_fenced_write_that_comes_late_is_refused_and_nothing_is_oversold() {
    let stack = Stack::with(setup()).await;
    stack.put_stock("chair", 1).await;
    let (placing, parked) = place_parked(&stack, "redlock-fenced").await;

    // It queues while the parked order still holds the lock, and so has it next.
    let other = stack.place("other", "chair", 1).await;
    let placed = placing.await.expect("no panic");
    let late = resume(&stack, parked).await;

    assert_eq!(other.status, 201, "{}", other.body);
    placed.is(409, "out_of_stock");
    assert_eq!(late, "stale_fencing_token");
    assert_eq!((stack.available("chair").await, stack.reservations().await), (0, 1));
    let refused: i64 = sqlx::query_scalar("select count(*) from fence_refusals where step = 'write'")
        .fetch_one(&stack.stock)
        .await
        .expect("a count");
    assert_eq!(refused, 1);
    assert_eq!(stack.payments().await, ["captured", "voided"], "the price of a refused write");
}

#[tokio::test]
async fn an_unfenced_write_that_comes_late_oversells() {
    let stack = Stack::with(setup()).await;
    stack.put_stock("chair", 1).await;
    let (placing, parked) = place_parked(&stack, "redlock").await;

    placing.await.expect("no panic").is(503, "dependency_unavailable");
    let other = stack.place_with("redlock", "other", "chair", 1).await;
    let late = resume(&stack, parked).await;

    assert_eq!((other.status, late.as_str()), (201, "written"), "{}", other.body);
    assert_eq!((stack.available("chair").await, stack.reservations().await), (0, 2), "two reservations of one chair");
}

#[tokio::test]
async fn a_write_for_several_that_comes_late_is_refused_and_each_of_them_is_served_once() {
    let stack = Stack::with(Setup { wait_ms: 30_000, ..setup() }).await;
    stack.put_stock("chair", 3).await;
    let elsewhere = shut(&stack, "chair").await;
    let placing = gather(&stack, &vec![order_body("chair", 1); 3]).await;
    for inventory in &stack.inventories {
        arm(&stack, inventory, Method::POST).await;
    }
    elsewhere.release().await.expect("released");
    let parked = which_stopped(&stack).await;
    arm(&stack, &stack.inventories[1 - parked], Method::DELETE).await;

    for reply in futures_util::future::join_all(placing).await {
        let reply = reply.expect("no panic");
        assert_eq!(reply.status, 201, "{}", reply.body);
    }
    let late = resume(&stack, parked).await;

    assert_eq!(late, "stale_fencing_token");
    assert_eq!((stack.available("chair").await, stack.reservations().await), (0, 3));
    assert_eq!(stack.payments().await, ["captured"; 3]);
}
