//! The payment provider is slow, for one SKU or for all.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tokio::task::JoinHandle;

use crate::stack::{Reply, Setup, Stack, eventually, order_body};

/// Payments of this SKU take longer, until a minute has passed.
pub(crate) async fn slow_down(stack: &Stack, sku: &str, by: Duration) {
    let by_ms = u64::try_from(by.as_millis()).expect("short");
    let body = json!({ "sku": sku, "by_ms": by_ms, "at_most_ms": 60_000 });
    assert_eq!(ask_lab(stack, reqwest::Method::POST, body).await.status, 204);
}

pub(crate) async fn stop(stack: &Stack) {
    assert_eq!(ask_lab(stack, reqwest::Method::DELETE, json!({})).await.status, 204);
}

async fn ask_lab(stack: &Stack, method: reqwest::Method, body: Value) -> Reply {
    Reply::of(stack.http.request(method, format!("{}/v1/lab/slow-payments", stack.url)).json(&body)).await
}

/// Sends an order, and returns when its payment is being authorised.
pub(crate) async fn place_slowly(stack: &Stack, key: &str, sku: &str) -> JoinHandle<Reply> {
    let placing = tokio::spawn(Reply::of(stack.post(key).json(&order_body(sku, 1))));
    eventually("the payment is being authorised", async || !stack.payments().await.is_empty()).await;
    placing
}

#[tokio::test]
async fn the_lab_slows_the_payments_of_one_sku_down_until_it_is_told_to_stop() {
    let stack = Stack::with(Setup { lease_ms: 60_000, ..Setup::default() }).await;
    stack.put_stock("chair", 2).await;
    stack.put_stock("table", 1).await;
    slow_down(&stack, "chair", Duration::from_mins(1)).await;
    let slow = place_slowly(&stack, "slow", "chair").await;

    assert_eq!(stack.place("other", "table", 1).await.status, 201);
    assert!(!slow.is_finished(), "its payment takes a minute");
    let stopped = Instant::now();
    stop(&stack).await;

    assert_eq!(slow.await.expect("no panic").status, 201);
    assert_eq!(stack.place("k", "chair", 1).await.status, 201);
    assert!(stopped.elapsed() < Duration::from_secs(30), "{:?}", stopped.elapsed());
}

#[tokio::test]
async fn the_labs_routes_are_404_while_it_is_off() {
    let stack = Stack::with(Setup { lab: false, ..Setup::default() }).await;
    ask_lab(&stack, reqwest::Method::POST, json!({ "by_ms": 1, "at_most_ms": 1 })).await.is(404, "not_found");
}

#[tokio::test]
async fn a_payment_longer_than_the_lease_sells_in_one_attempt_with_one_authorisation() {
    let stack = Stack::with(Setup { lease_ms: 1_000, payment_ms: 3_500, ..Setup::default() }).await;
    stack.put_stock("chair", 2).await;
    stack.put_stock("table", 1).await;

    let (chair, table) = tokio::join!(stack.place("a", "chair", 1), stack.place("b", "table", 1));

    assert_eq!((chair.status, table.status), (201, 201), "{} {}", chair.body, table.body);
    assert_eq!(stack.fence("chair").await, 1, "one grant and one claim");
    assert_eq!(stack.payments().await, ["captured", "captured"]);
}

#[tokio::test]
async fn a_lock_lost_during_a_payment_ends_the_wait_and_the_retry_joins_the_authorisation() {
    let stack = Stack::with(Setup { lease_ms: 1_000, ..Setup::default() }).await;
    stack.put_stock("chair", 2).await;
    slow_down(&stack, "chair", Duration::from_mins(1)).await;
    let slow = place_slowly(&stack, "slow", "chair").await;
    let authorised_at = async || -> String {
        let query = "select authorised_at::text from payments";
        sqlx::query_scalar(query).fetch_one(&stack.orders).await.expect("a payment")
    };
    let begun = authorised_at().await;
    eventually("the first claim", async || stack.fence("chair").await == 1).await;

    for node in &stack.redis {
        node.command(&["DEL", "lock:{sku:chair}"]).await.expect("redis");
    }

    eventually("a second claim while the payment is under way", async || stack.fence("chair").await > 1).await;
    assert!(!slow.is_finished(), "its payment takes a minute");
    stop(&stack).await;
    let placed = slow.await.expect("no panic");
    assert_eq!(placed.status, 201, "{}", placed.body);
    assert_eq!(authorised_at().await, begun, "one authorisation");
    assert_eq!((stack.payments().await, stack.available("chair").await), (vec!["captured".to_owned()], 1));
}

#[tokio::test]
async fn the_payments_limit_ends_the_order_voids_the_payment_and_releases_the_lock() {
    let flags = &["--reconcile-ms=3600000", "--payment-timeout-ms=2500"];
    let stack = Stack::with(Setup { lease_ms: 1_000, flags, ..Setup::default() }).await;
    stack.put_stock("chair", 2).await;
    slow_down(&stack, "chair", Duration::from_mins(1)).await;

    let refused = stack.place("k", "chair", 1).await;

    refused.is(503, "payment_timeout").asks_to_retry();
    assert_eq!((stack.payments().await, stack.available("chair").await), (vec!["voided".to_owned()], 2));
    for node in &stack.redis {
        let lock = async || node.command(&["GET", "lock:{sku:chair}"]).await.expect("redis");
        eventually("the lock is released", async || lock().await.is_empty()).await;
    }
    stop(&stack).await;
    let placed = stack.place("k", "chair", 1).await;
    assert_eq!(placed.status, 201, "the key is free: {}", placed.body);
}

#[tokio::test]
async fn orders_of_other_skus_are_sold_while_one_skus_payment_outlasts_every_wait() {
    let stack = Stack::with(Setup { lease_ms: 1_000, wait_ms: 1_500, ..Setup::default() }).await;
    stack.put_stock("chair", 2).await;
    stack.put_stock("table", 2).await;
    slow_down(&stack, "chair", Duration::from_mins(1)).await;
    let slow = place_slowly(&stack, "slow", "chair").await;

    stack.place("waits", "chair", 1).await.is(503, "lock_timeout").asks_to_retry();
    assert_eq!(stack.place("other", "table", 1).await.status, 201);

    assert!(!slow.is_finished(), "its payment takes a minute, and its lock was extended meanwhile");
    stop(&stack).await;
    assert_eq!(slow.await.expect("no panic").status, 201);
    assert_eq!((stack.available("chair").await, stack.available("table").await), (1, 1));
}
