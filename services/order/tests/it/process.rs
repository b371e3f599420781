//! The binary as it is deployed: two replicas, one of which is killed or stopped.

use std::{path::PathBuf, time::Duration};

use testbed::{Process, ProcessSpec, RedisNode};

use crate::stack::{Reply, Setup, Stack, eventually, order_body};

const TIMEOUT: Duration = Duration::from_secs(30);

/// Another replica beside the one in this process, with the same databases and
/// lock nodes; later variables of the environment override earlier ones.
pub(crate) async fn replica(stack: &Stack, name: &str, more: &[(&str, &str)]) -> Running {
    let nodes: Vec<_> = stack.redis.iter().map(RedisNode::url).collect();
    let inventory = format!("http://{}", stack.inventory_line.addr());
    let envs = [
        ("ORDER_LISTEN", "127.0.0.1:0"),
        ("ORDER_DATABASE_URL", &stack.orders_url),
        ("ORDER_INVENTORY_URLS", &inventory),
        ("ORDER_LOCK_NODES", &nodes.join(",")),
        ("ORDER_LOCK_LEASE_MS", "1000"),
        ("ORDER_LOCK_WAIT_MS", "1000"),
        // Its keys fall due this much later.
        ("ORDER_PAYMENT_TIMEOUT_MS", "10000"),
        ("ORDER_LAB", "true"),
    ];
    let envs = envs.iter().chain(more).map(|&(name, value)| (name.to_owned(), value.to_owned())).collect();
    let log = PathBuf::from(format!("{}/order-{name}-{}.log", env!("CARGO_TARGET_TMPDIR"), std::process::id()));
    let mut process = Process::spawn(ProcessSpec {
        name: name.to_owned(),
        program: PathBuf::from(env!("CARGO_BIN_EXE_order")),
        args: Vec::new(),
        envs,
        log: log.clone(),
    })
    .expect("order starts");
    let url = process.first_line(TIMEOUT).await;
    let url = url.unwrap_or_else(|error| panic!("{error}\n{}", process.log_tail(20)));
    Running { process, url, log }
}

#[tokio::test]
async fn an_order_whose_replica_was_killed_is_reconciled_by_another_and_sells_once() {
    let setup = Setup { lease_ms: 1_000, wait_ms: 1_000, flags: &["--reconcile-ms=50"], ..Setup::default() };
    let stack = Stack::with(setup).await;
    stack.put_stock("chair", 5).await;
    let mut killed = replica(&stack, "killed", &[("ORDER_PAYMENT_MS", "600000")]).await;
    let placing = killed.post(&stack, "k");
    eventually("the payment is being authorised", async || !stack.payments().await.is_empty()).await;

    killed.process.kill().await;

    assert!(placing.await.expect("no panic").is_err(), "the replica is gone");
    eventually("another replica took it over", async || stack.order_status("k").await == "failed").await;
    assert_eq!(stack.payments().await, ["voided"], "no authorisation is left open");
    let placed = stack.place("k", "chair", 1).await;
    assert_eq!(placed.status, 201, "{}", placed.body);
    assert_eq!((stack.available("chair").await, stack.reservations().await), (4, 1));
    assert_eq!(stack.payments().await, ["captured"]);
}

#[tokio::test]
async fn sigterm_ends_the_process_cleanly_after_the_orders_in_flight() {
    let stack = Stack::start().await;
    stack.put_stock("chair", 5).await;
    let running = replica(&stack, "stopping", &[("ORDER_PAYMENT_MS", "300")]).await;
    let placing = running.post(&stack, "k");
    eventually("the payment is being authorised", async || !stack.payments().await.is_empty()).await;

    let status = running.process.terminate(TIMEOUT).await;

    assert!(status.is_some_and(|status| status.success()), "{status:?}");
    let answered = placing.await.expect("no panic").expect("an answer");
    assert_eq!(answered.status().as_u16(), 201);
    assert_eq!(stack.order_status("k").await, "held");
    for node in &stack.redis {
        assert_eq!(node.command(&["GET", "lock:{sku:chair}"]).await.expect("redis"), "", "locks are released");
    }
}

#[tokio::test]
async fn an_order_that_outlasts_the_drain_is_reconciled_by_another_replica() {
    let setup = Setup { lease_ms: 1_000, wait_ms: 1_000, flags: &["--reconcile-ms=50"], ..Setup::default() };
    let stack = Stack::with(setup).await;
    stack.put_stock("chair", 5).await;
    // An order takes at most 8 s without its payment.
    let slow = [("ORDER_PAYMENT_MS", "600000"), ("ORDER_LOCK_WAIT_MS", "7000")];
    let running = replica(&stack, "slow", &slow).await;
    let placing = running.post(&stack, "k");
    eventually("the payment is being authorised", async || !stack.payments().await.is_empty()).await;

    // Once for all orders, and not once more for those whose connection was closed.
    let status = running.process.terminate(Duration::from_secs(15)).await;

    assert!(status.is_some_and(|status| status.success()), "{status:?}");
    assert!(placing.await.expect("no panic").is_err(), "the replica is gone");
    eventually("another replica took it over", async || stack.order_status("k").await == "failed").await;
    assert_eq!((stack.payments().await, stack.available("chair").await), (vec!["voided".to_owned()], 5));
    let placed = stack.place("k", "chair", 1).await;
    assert_eq!(placed.status, 201, "{}", placed.body);
}

#[tokio::test]
async fn standard_output_is_the_address_and_readiness_follows() {
    let stack = Stack::start().await;
    let running = replica(&stack, "ready", &[]).await;

    let ready = Reply::of(stack.http.get(format!("{}/readyz", running.url))).await;

    assert!(running.url.starts_with("http://127.0.0.1:"), "{}", running.url);
    assert_eq!(ready.status, 200, "{}", ready.body);
    let metrics = Reply::of(stack.http.get(format!("{}/metrics", running.url))).await;
    assert_eq!(metrics.status, 200);
}

pub(crate) struct Running {
    pub(crate) process: Process,
    pub(crate) url: String,
    /// What it writes to stderr.
    pub(crate) log: PathBuf,
}

impl Running {
    pub(crate) fn post(&self, stack: &Stack, key: &str) -> tokio::task::JoinHandle<reqwest::Result<reqwest::Response>> {
        let request = stack.http.post(format!("{}/v1/orders", self.url));
        tokio::spawn(request.header("idempotency-key", key).json(&order_body("chair", 1)).send())
    }
}
