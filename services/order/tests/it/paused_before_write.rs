//! A replica that stops between its last look at the lease and its write: the window that the look cannot close.

use serde_json::json;

use crate::process::{Running, replica};
use crate::stack::{Reply, Setup, Stack, eventually, order_body};

/// An order of one chair at a replica that stops before it sends the write.
struct Stopped {
    replica: Running,
    placing: tokio::task::JoinHandle<Reply>,
}

impl Stopped {
    async fn order(stack: &Stack, strategy: &str) -> Self {
        let replica = replica(stack, "stopped", &[]).await;
        let arm = stack.http.post(format!("{}/v1/lab/pauses", replica.url)).json(&json!({ "sku": "chair" }));
        assert_eq!(Reply::of(arm).await.status, 204);
        let order = stack.http.post(format!("{}/v1/orders", replica.url)).header("idempotency-key", "stopped");
        let placing = tokio::spawn(Reply::of(order.header("lock-strategy", strategy).json(&order_body("chair", 1))));
        replica.process.stopped().await.expect("it stops itself");
        Self { replica, placing }
    }

    /// Goes on; resolves when its order has an end that does not change any more.
    async fn go_on(self, stack: &Stack) {
        self.replica.process.resume();
        drop(self.placing.await.expect("no panic"));
        eventually("the order has ended", async || stack.order_status("stopped").await != "pending").await;
    }
}

fn setup() -> Setup {
    Setup { lease_ms: 1_000, wait_ms: 5_000, flags: &["--reconcile-ms=50"], ..Setup::default() }
}

#[tokio::test]
async fn what_a_replica_sends_after_a_look_that_has_aged_is_sold_twice_without_a_fence() {
    let stack = Stack::with(setup()).await;
    stack.put_stock("chair", 2).await;
    let stopped = Stopped::order(&stack, "redlock").await;
    assert_eq!(stack.place_with("redlock", "other", "chair", 1).await.status, 201);

    stopped.go_on(&stack).await;

    assert_eq!((stack.reservations().await, stack.available("chair").await), (2, 1), "the late write put a unit back");
    assert_eq!(stack.place_with("redlock", "third", "chair", 1).await.status, 201, "three of two are sold");
}

#[tokio::test]
async fn what_a_replica_sends_after_a_look_that_has_aged_is_refused_under_a_fence() {
    let stack = Stack::with(setup()).await;
    stack.put_stock("chair", 1).await;
    let stopped = Stopped::order(&stack, "redlock-fenced").await;
    assert_eq!(stack.place("other", "chair", 1).await.status, 201);

    stopped.go_on(&stack).await;

    assert_eq!(stack.order_status("stopped").await, "failed");
    assert_eq!((stack.reservations().await, stack.available("chair").await), (1, 0));
    let mut payments = stack.payments().await;
    payments.sort_unstable();
    assert_eq!(payments, ["captured", "voided"]);
}

#[tokio::test]
async fn a_pause_that_was_disarmed_does_not_fire() {
    let stack = Stack::with(setup()).await;
    stack.put_stock("chair", 1).await;
    let replica = replica(&stack, "disarmed", &[]).await;
    let pauses = format!("{}/v1/lab/pauses", replica.url);
    assert_eq!(Reply::of(stack.http.post(&pauses).json(&json!({ "sku": "chair" }))).await.status, 204);
    assert_eq!(Reply::of(stack.http.delete(&pauses)).await.status, 204);
    let order = stack.http.post(format!("{}/v1/orders", replica.url)).header("idempotency-key", "k");
    assert_eq!(Reply::of(order.json(&order_body("chair", 1))).await.status, 201);
}
