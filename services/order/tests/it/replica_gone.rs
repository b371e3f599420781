//! A replica is killed or paused with an order in flight, and the client retries at another one.

use std::time::{Duration, Instant};

use crate::{
    process::{Running, replica},
    stack::{Reply, Setup, Stack, eventually},
};

/// The claim of a key lasts longer than any of these tests: lock wait and lease together.
const CLAIM: Duration = Duration::from_mins(2);

async fn stack() -> Stack {
    let setup = Setup { lease_ms: 1_000, wait_ms: 120_000, ..Setup::default() };
    let stack = Stack::with(setup).await;
    stack.put_stock("chair", 5).await;
    stack
}

async fn slow_replica(stack: &Stack, name: &str, payment_ms: &str) -> Running {
    replica(stack, name, &[("ORDER_LOCK_WAIT_MS", "120000"), ("ORDER_PAYMENT_MS", payment_ms)]).await
}

/// Retries as the answers ask for it, until one is something else than `idempotency_in_progress`.
async fn retry(stack: &Stack) -> Reply {
    loop {
        let reply = stack.place("k", "chair", 1).await;
        if reply.code() != "idempotency_in_progress" {
            return reply;
        }
        reply.is(409, "idempotency_in_progress").asks_to_retry();
        let seconds: u64 = reply.header("retry-after").parse().expect("seconds");
        assert!(seconds <= 2, "by then it is known whether the replica is gone: {seconds}");
        tokio::time::sleep(Duration::from_secs(seconds)).await;
    }
}

#[tokio::test]
async fn an_order_of_a_killed_replica_is_sold_once_by_another_as_soon_as_it_counts_as_gone() {
    let stack = stack().await;
    let mut killed = slow_replica(&stack, "gone", "600000").await;
    let placing = killed.post(&stack, "k");
    eventually("the payment is being authorised", async || !stack.payments().await.is_empty()).await;
    stack.place("k", "chair", 1).await.is(409, "idempotency_in_progress").asks_to_retry();

    killed.process.kill().await;
    let killed_at = Instant::now();
    let placed = retry(&stack).await;

    assert_eq!(placed.status, 201, "{}", placed.body);
    assert!(killed_at.elapsed() < CLAIM / 4, "{:?}", killed_at.elapsed());
    assert!(placing.await.expect("no panic").is_err(), "the replica is gone");
    assert_eq!((stack.available("chair").await, stack.reservations().await), (4, 1));
    assert_eq!(stack.payments().await, ["captured"]);
}

#[tokio::test]
async fn a_replica_that_was_only_paused_comes_back_and_sells_nothing_twice() {
    let stack = stack().await;
    let paused = slow_replica(&stack, "paused", "700").await;
    let placing = paused.post(&stack, "k");
    eventually("the payment is being authorised", async || !stack.payments().await.is_empty()).await;

    paused.process.pause();
    let placed = retry(&stack).await;
    paused.process.resume();

    assert_eq!(placed.status, 201, "{}", placed.body);
    let late = placing.await.expect("no panic").expect("an answer");
    let status = late.status().as_u16();
    assert!(status == 409 || status == 201, "{}", late.text().await.unwrap_or_default());
    assert_eq!((stack.available("chair").await, stack.reservations().await), (4, 1));
    assert_eq!(stack.payments().await, ["captured"]);
    assert_eq!(stack.place("k", "chair", 1).await.bytes, placed.bytes, "the answer that was recorded is replayed");
}

#[tokio::test]
async fn a_replica_that_stops_leaves_its_unfinished_order_to_others_at_once() {
    let stack = stack().await;
    let replicas = async || -> i64 {
        sqlx::query_scalar("select count(*) from replicas").fetch_one(&stack.orders).await.expect("a count")
    };
    let running = slow_replica(&stack, "stopped", "2").await;
    assert_eq!(replicas().await, 2);

    running.process.terminate(Duration::from_secs(30)).await.expect("it ends");

    assert_eq!(replicas().await, 1);
}
