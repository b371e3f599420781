//! A reply that is lost on any line between a customer and the row, and the
//! retry that follows: sold once. Between order and inventory: `unheard.rs`.

use testbed::Proxy;

use crate::stack::{Reply, Setup, Stack, eventually, order_body};

#[tokio::test]
async fn between_client_and_order() {
    let stack = Stack::start().await;
    stack.put_stock("chair", 5).await;
    let address = stack.url.trim_start_matches("http://").parse().expect("an address");
    let line = Proxy::start(address).await.expect("a proxy");
    line.drop_to_client(true);
    let through = stack.http.post(format!("http://{}/v1/orders", line.addr())).header("idempotency-key", "k");
    let unheard = tokio::spawn(through.json(&order_body("chair", 1)).send());
    eventually("the order is held", async || {
        stack.reservations().await == 1 && stack.order_status("k").await == "held"
    })
    .await;
    line.cut();
    assert!(unheard.await.expect("no panic").is_err(), "nobody heard of it");

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
    // What was granted and not heard of is released, or lapses.
    eventually("it is placed", async || stack.place("k", "chair", 1).await.status == 201).await;
    assert_eq!((stack.reservations().await, stack.available("chair").await), (2, 3));
}

#[tokio::test]
async fn between_inventory_and_its_commit() {
    let setup = Setup { lease_ms: 1_500, payment_ms: 300, ..Setup::default() };
    let stack = Stack::with(setup).await;
    stack.put_stock("chair", 10).await;
    // A statement that its connection has not prepared yet would lose a reply before it is executed.
    for number in 0..6 {
        stack.place(&format!("before{number}"), "chair", 1).await.is(201, "");
    }
    let placing = tokio::spawn(Reply::of(stack.post("k").json(&order_body("chair", 1))));
    eventually("the payment is being authorised", async || stack.payments().await.len() == 7).await;
    stack.stock_line.drop_to_client(true);
    eventually("it is committed", async || stack.reservations().await == 7).await;
    stack.stock_line.cut();
    stack.stock_line.drop_to_client(false);
    stack.stock_line.heal();

    let placed = placing.await.expect("no panic");

    // Whether the first request outlasted the disturbance or not, a retry knows.
    assert!(placed.status == 201 || placed.code() == "dependency_unavailable", "{}", placed.body);
    eventually("it is known", async || stack.place("k", "chair", 1).await.status == 201).await;
    assert_eq!((stack.reservations().await, stack.available("chair").await), (7, 3));
    assert_eq!(stack.payments().await, ["captured"; 7]);
}
