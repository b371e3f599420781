//! Strategies with other locks than Redlock, on real lock servers: two replicas
//! of order, and more orders than units.

use testbed::{Etcd, Postgres, Zookeeper};

use crate::{
    outages,
    process::{self, Running},
    stack::{Reply, Setup, Stack, eventually, order_body},
};

const UNITS: usize = 6;
const CUSTOMERS: usize = 20;

/// This process and another, both configured with the lock server.
async fn two_replicas(name: &str, flag: &str, env: &str, address: &str) -> (Stack, Running) {
    let stack = Stack::with(Setup { addresses: vec![format!("{flag}={address}")], ..Setup::default() }).await;
    let envs = [(env, address), ("ORDER_LOCK_LEASE_MS", "3000"), ("ORDER_LOCK_WAIT_MS", "10000")];
    let other = process::replica(&stack, name, &envs).await;
    (stack, other)
}

async fn place(stack: &Stack, url: &str, strategy: &str, key: &str) -> Reply {
    let request = stack.http.post(format!("{url}/v1/orders")).header("idempotency-key", key);
    Reply::of(request.header("lock-strategy", strategy).json(&order_body("chair", 1))).await
}

/// One order, then many at once for the other units; returns the replies of those held.
async fn sell_concurrently(stack: &Stack, other: &Running, strategy: &str) -> Vec<Reply> {
    stack.put_stock("chair", i64::try_from(UNITS).expect("few")).await;
    let first = place(stack, &other.url, strategy, "first").await;
    assert_eq!((first.status, first.body["strategy"].as_str()), (201, Some(strategy)), "{}", first.body);

    let keys: Vec<_> = (0..CUSTOMERS).map(|number| format!("k{number}")).collect();
    let orders = keys.iter().enumerate().map(|(number, key)| {
        let url = if number % 2 == 0 { &stack.url } else { &other.url };
        place(stack, url, strategy, key)
    });
    let replies = futures_util::future::join_all(orders).await;

    assert!(replies.iter().all(|reply| reply.status == 201 || reply.code() == "out_of_stock"), "{replies:?}");
    place(stack, &stack.url, strategy, "last").await.is(409, "out_of_stock");
    let held = replies.into_iter().filter(|reply| reply.status == 201);
    let held_replies: Vec<_> = std::iter::once(first).chain(held).collect();
    assert_eq!((held_replies.len(), stack.available("chair").await), (UNITS, 0), "as many orders held as units");
    assert_eq!(stack.reservations().await, i64::try_from(UNITS).expect("few"));
    assert_eq!(stack.payments().await.iter().filter(|state| *state == "captured").count(), UNITS);
    held_replies
}

/// The replies carry its tokens, and the SKU accepts no tokens of another source.
async fn is_fenced_by(stack: &Stack, held_replies: &[Reply], source: &str) {
    let token = |reply: &Reply| reply.body["reservation"]["lines"][0]["fencing_token"].as_i64();
    let fence = stack.fence("chair").await;
    assert!(
        held_replies.iter().all(|reply| token(reply).is_some_and(|token| 0 < token && token <= fence)),
        "{held_replies:?}"
    );
    let bound: String = sqlx::query_scalar("select token_source from stock where sku = 'chair'")
        .fetch_one(&stack.stock)
        .await
        .expect("a SKU");
    assert_eq!(bound, source);
    stack.put_stock("chair", i64::try_from(UNITS).expect("few") + 1).await;
    stack.place("another", "chair", 1).await.is(409, "token_source_mismatch");
}

#[tokio::test]
async fn etcd_fenced_sells_every_unit_once_and_refuses_the_other_orders() {
    let etcd = Etcd::start().await.expect("etcd");
    let (stack, other) = two_replicas("etcd", "--etcd-endpoints", "ORDER_ETCD_ENDPOINTS", &etcd.url()).await;
    let held_replies = sell_concurrently(&stack, &other, "etcd-fenced").await;
    is_fenced_by(&stack, &held_replies, "etcd").await;
}

#[tokio::test]
async fn zookeeper_fenced_sells_every_unit_once_and_refuses_the_other_orders() {
    let zookeeper = Zookeeper::start().await.expect("zookeeper");
    let at = zookeeper.addr().to_string();
    let (stack, other) = two_replicas("zookeeper", "--zookeeper", "ORDER_ZOOKEEPER", &at).await;
    let held_replies = sell_concurrently(&stack, &other, "zookeeper-fenced").await;
    is_fenced_by(&stack, &held_replies, "zookeeper").await;
}

#[tokio::test]
async fn postgres_advisory_sells_every_unit_once_while_no_client_is_paused() {
    let database = Postgres::shared().await.fresh_database("advisory").await.expect("a database");
    let (stack, other) = two_replicas("advisory", "--advisory-url", "ORDER_ADVISORY_URL", &database).await;
    let held_replies = sell_concurrently(&stack, &other, "postgres-advisory").await;
    assert!(
        held_replies.iter().all(|reply| reply.body["reservation"]["lines"][0]["fencing_token"].is_null()),
        "{held_replies:?}"
    );
}

#[tokio::test]
async fn lock_quorum_unavailable_is_503_while_etcd_is_down_and_nothing_is_sold() {
    let mut etcd = Etcd::start().await.expect("etcd");
    let addresses = vec![format!("--etcd-endpoints={}", etcd.url())];
    let stack = Stack::with(Setup { addresses, ..Setup::default() }).await;
    stack.put_stock("chair", 1).await;
    etcd.kill().await;

    let refused = stack.place_with("etcd-fenced", "k", "chair", 1).await;

    refused.is(503, "lock_quorum_unavailable").asks_to_retry();
    assert_eq!((stack.available("chair").await, stack.reservations().await), (1, 0));
}

/// A replica of its own whose default strategy takes its locks from this server.
async fn only_with(stack: &Stack, strategy: &str, env: &str, address: &str) -> Running {
    let envs = [("ORDER_STRATEGY", strategy), (env, address), ("LOG_FORMAT", "json")];
    process::replica(stack, strategy, &envs).await
}

/// While its server is down the replica is not ready, and sells nothing.
async fn is_not_ready_without(stack: &Stack, order: &Running, lock: &str) {
    let url = format!("{}/readyz", order.url);
    eventually("it is not ready", async || Reply::of(stack.http.get(&url)).await.status == 503).await;
    let ready = Reply::of(stack.http.get(&url)).await;
    assert_eq!(ready.body["missing"], serde_json::json!([lock]), "{}", ready.body);
    outages::place(stack, order, "k").await.is(503, "lock_quorum_unavailable").asks_to_retry();
    assert_eq!((stack.available("chair").await, stack.reservations().await), (1, 0));
}

async fn is_ready_and_sells(stack: &Stack, order: &Running) {
    let url = format!("{}/readyz", order.url);
    eventually("it is ready", async || Reply::of(stack.http.get(&url)).await.status == 200).await;
    let placed = outages::place(stack, order, "k").await;
    assert_eq!(placed.status, 201, "{}", placed.body);
    let kinds = outages::kinds_of_outages(&order.log);
    assert!(kinds.len() == 1 && ["unreachable", "gone", "silent"].contains(&kinds[0].as_str()), "{kinds:?}");
}

#[tokio::test]
async fn without_the_etcd_of_its_default_strategy_the_service_is_not_ready_until_it_is_back() {
    let mut etcd = Etcd::start().await.expect("etcd");
    let stack = Stack::start().await;
    stack.put_stock("chair", 1).await;
    let order = only_with(&stack, "etcd-fenced", "ORDER_ETCD_ENDPOINTS", &etcd.url()).await;
    etcd.kill().await;
    is_not_ready_without(&stack, &order, "etcd").await;
    etcd.restart().await.expect("etcd starts again");
    is_ready_and_sells(&stack, &order).await;
}

#[tokio::test]
async fn without_the_zookeeper_of_its_default_strategy_the_service_is_not_ready_until_it_is_back() {
    let mut zookeeper = Zookeeper::start().await.expect("zookeeper");
    let stack = Stack::start().await;
    stack.put_stock("chair", 1).await;
    let order = only_with(&stack, "zookeeper-fenced", "ORDER_ZOOKEEPER", &zookeeper.addr().to_string()).await;
    zookeeper.kill().await;
    is_not_ready_without(&stack, &order, "zookeeper").await;
    zookeeper.restart().await.expect("zookeeper starts again");
    is_ready_and_sells(&stack, &order).await;
}
