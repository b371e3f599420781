//! A reply lost on any line between the client and the database, and the retry
//! that follows: the order is sold once. Between order and inventory, see
//! `outcome_unknown`.

use std::time::Duration;

use testbed::Proxy;

use crate::{
    slow_payments::{place_slowly, slow_down},
    stack::{Setup, Stack, eventually, order_body},
};

#[tokio::test]
async fn between_client_and_order() {
    let stack = Stack::start().await;
    stack.put_stock("chair", 5).await;
    let address = stack.url.trim_start_matches("http://").parse().expect("an address");
    let line = Proxy::start(address).await.expect("a proxy");
    line.drop_to_client(true);
    let through = stack.http.post(format!("http://{}/v1/orders", line.addr())).header("idempotency-key", "k");
    let lost = tokio::spawn(through.json(&order_body("chair", 1)).send());
    eventually("the order is held", async || {
        stack.reservations().await == 1 && stack.order_status("k").await == "held"
    })
    .await;
    line.cut();
    assert!(lost.await.expect("no panic").is_err(), "the client has no reply");

    let retried = stack.place("k", "chair", 1).await;

    assert_eq!((retried.status, retried.header("idempotent-replayed")), (201, "true"), "{}", retried.body);
    assert_eq!((stack.reservations().await, stack.available("chair").await), (1, 4));
    assert_eq!(stack.payments().await, ["captured"]);
}

#[tokio::test]
async fn between_order_and_the_lock_nodes() {
    let setup = Setup { lock_lines: true, lease_ms: 1_000, wait_ms: 5_000, ..Setup::default() };
    let stack = Stack::with(setup).await;
    stack.put_stock("chair", 5).await;
    stack.place("before", "chair", 1).await.is(201, "");
    for line in &stack.lock_lines {
        line.drop_to_client(true);
    }

    let refused = stack.place("k", "chair", 1).await;

    refused.is(503, "lock_quorum_unavailable").asks_to_retry();
    assert_eq!((stack.reservations().await, stack.available("chair").await), (1, 4));
    for line in &stack.lock_lines {
        line.drop_to_client(false);
        line.cut();
        line.heal();
    }
    // Grants whose replies were lost are released, or lapse.
    eventually("the order is placed", async || stack.place("k", "chair", 1).await.status == 201).await;
    assert_eq!((stack.reservations().await, stack.available("chair").await), (2, 3));
}

#[tokio::test]
async fn between_inventory_and_its_commit() {
    let stack = Stack::start().await;
    stack.put_stock("chair", 10).await;
    slow_down(&stack, "chair", Duration::from_mins(1)).await;
    let placing = place_slowly(&stack, "k", "chair").await;
    // The write waits for this row, so that its reply is the first one that is lost. Without the reply to an earlier message
    // it would not be sent.
    let mut row = stack.stock.begin().await.expect("a transaction");
    sqlx::query("select from stock where sku = 'chair' for update").execute(&mut *row).await.expect("the row");
    stack.app.api.placement.section().payments.slow.stop();
    eventually("the write waits for the row", async || waiting_sessions(&stack).await == 1).await;
    stack.stock_line.drop_to_client(true);
    row.commit().await.expect("the row is free");
    eventually("the write is committed", async || stack.reservations().await == 1).await;
    stack.stock_line.cut();
    stack.stock_line.drop_to_client(false);
    stack.stock_line.heal();

    let placed = placing.await.expect("no panic");

    // The first request may be over before the line is back; a retry finds the result.
    assert!(placed.status == 201 || placed.code() == "dependency_unavailable", "{}", placed.body);
    eventually("the outcome is known", async || stack.place("k", "chair", 1).await.status == 201).await;
    assert_eq!((stack.reservations().await, stack.available("chair").await), (1, 9));
    assert_eq!(stack.payments().await, ["captured"]);
}

/// The sessions of inventory that wait for a row.
async fn waiting_sessions(stack: &Stack) -> i64 {
    let count = "select count(*) from pg_stat_activity
                  where datname = current_database() and application_name = 'inventory' and wait_event_type = 'Lock'";
    sqlx::query_scalar(count).fetch_one(&stack.stock).await.expect("a count")
}
