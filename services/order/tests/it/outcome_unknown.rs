//! Unknown outcomes: a write was executed and its reply was lost.

use crate::stack::{Reply, Setup, Stack, eventually, order_body};

const SETUP: Setup = Setup {
    redis_nodes: 3,
    cluster_mode: false,
    lock_lines: false,
    inventories: 1,
    lab: true,
    lease_ms: 1_500,
    wait_ms: 10_000,
    payment_ms: 300,
    flags: &["--reconcile-ms=3600000"],
    addresses: Vec::new(),
};

/// Places an order and drops the reply to its write: replies stop while the
/// payment is being authorised, after the reply to the claim.
async fn place_without_reply(stack: &Stack, strategy: &str) -> tokio::task::JoinHandle<Reply> {
    let request = stack.post("k").header("lock-strategy", strategy).json(&order_body("chair", 1));
    let placing = tokio::spawn(Reply::of(request));
    eventually("the payment is being authorised", async || !stack.payments().await.is_empty()).await;
    stack.inventory_line.drop_to_client(true);
    eventually("the write is done", async || stack.reservations().await == 1).await;
    placing
}

#[tokio::test]
async fn a_lost_reply_under_a_fence_is_resolved_before_the_customer_is_answered() {
    let stack = Stack::with(SETUP).await;
    stack.put_stock("chair", 1).await;
    let placing = place_without_reply(&stack, "redlock-fenced").await;
    let written = stack.fence("chair").await;
    eventually("a higher token is claimed", async || stack.fence("chair").await > written).await;
    stack.inventory_line.drop_to_client(false);

    let placed = placing.await.expect("no panic");

    assert_eq!(placed.status, 201, "{}", placed.body);
    let token = placed.body["reservation"]["lines"][0]["fencing_token"].as_i64();
    assert_eq!(token, Some(written), "the write whose reply was lost counts");
    assert_eq!((stack.reservations().await, stack.available("chair").await), (1, 0));
    assert_eq!(stack.payments().await, ["captured"]);
}

#[tokio::test]
async fn a_lost_reply_without_a_fence_is_503_keeps_the_lock_and_sells_once() {
    let stack = Stack::with(SETUP).await;
    stack.put_stock("chair", 5).await;
    let placing = place_without_reply(&stack, "redlock").await;

    let answer = placing.await.expect("no panic");

    answer.is(503, "dependency_unavailable").asks_to_retry();
    assert_eq!(stack.order_status("k").await, "pending");
    assert_eq!(stack.payments().await, ["authorised"], "neither captured nor voided while the outcome is unknown");
    stack.inventory_line.drop_to_client(false);
    let placed = stack.place_with("redlock", "k", "chair", 1).await;
    assert_eq!(placed.status, 201, "{}", placed.body);
    assert_eq!((stack.reservations().await, stack.available("chair").await), (1, 4));
    assert_eq!(stack.payments().await, ["captured"]);
}

#[tokio::test]
async fn an_unknown_outcome_is_reconciled_if_the_client_never_retries() {
    let stack = Stack::with(Setup { flags: &["--reconcile-ms=50"], ..SETUP }).await;
    stack.put_stock("chair", 5).await;
    let placing = place_without_reply(&stack, "redlock").await;
    placing.await.expect("no panic").is(503, "dependency_unavailable");
    stack.inventory_line.drop_to_client(false);

    eventually("the order is held", async || stack.order_status("k").await == "held").await;

    assert_eq!(stack.payments().await, ["captured"]);
    assert_eq!(stack.place_with("redlock", "k", "chair", 1).await.status, 201);
    assert_eq!(stack.reservations().await, 1);
}

#[tokio::test]
async fn a_payment_whose_record_a_crash_of_postgres_lost_is_captured_when_its_order_is_held() {
    let stack = Stack::with(Setup { flags: &["--reconcile-ms=50"], ..SETUP }).await;
    stack.put_stock("chair", 1).await;
    let placing = place_without_reply(&stack, "redlock").await;
    placing.await.expect("no panic").is(503, "dependency_unavailable");
    // Authorisations are committed asynchronously, so a crash loses the newest.
    sqlx::query("delete from payments").execute(&stack.orders).await.expect("delete");
    stack.inventory_line.drop_to_client(false);

    eventually("the order is held", async || stack.order_status("k").await == "held").await;

    assert_eq!(stack.payments().await, ["captured"]);
}

#[tokio::test]
async fn a_client_that_retries_without_end_does_not_postpone_the_resolution_of_an_unknown_outcome() {
    let stack = Stack::with(Setup { flags: &["--reconcile-ms=50"], ..SETUP }).await;
    stack.put_stock("chair", 2).await;
    assert_eq!(stack.place_with("row-lock", "first", "chair", 1).await.status, 201, "there is a connection now");
    let request = stack.post("k").header("lock-strategy", "row-lock").json(&order_body("chair", 1));
    let placing = tokio::spawn(Reply::of(request));
    eventually("the payment is being authorised", async || stack.payments().await.len() == 2).await;
    // The write never arrives, and somebody else buys the unit.
    stack.inventory_line.silence_established();
    placing.await.expect("no panic").is(503, "dependency_unavailable");
    stack.inventory_line.close_silenced();
    assert_eq!(stack.place_with("row-lock", "other", "chair", 1).await.status, 201);

    // Far more often than an unanswered write has time to arrive: three leases.
    eventually("the outcome is known", async || {
        let again = stack.place_with("row-lock", "k", "chair", 1).await;
        assert!([409, 503].contains(&again.status), "{}", again.body);
        again.code() == "out_of_stock"
    })
    .await;
    assert_eq!((stack.reservations().await, stack.available("chair").await), (2, 0));
}
