//! The locks that are not Redlock, on their real servers, all the way through
//! an order: two replicas, and more customers than units.

use testbed::{Etcd, Postgres, Zookeeper};

use crate::{
    process::{self, Running},
    stack::{Reply, Setup, Stack, order_body},
};

const UNITS: usize = 6;
const CUSTOMERS: usize = 20;

/// This process and another one, both told where the lock is.
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

/// One order, then a crowd for the rest; gives every answer that was a yes.
async fn sold_to_a_crowd(stack: &Stack, other: &Running, strategy: &str) -> Vec<Reply> {
    stack.put_stock("chair", i64::try_from(UNITS).expect("few")).await;
    let first = place(stack, &other.url, strategy, "first").await;
    assert_eq!((first.status, first.body["strategy"].as_str()), (201, Some(strategy)), "{}", first.body);

    let keys: Vec<_> = (0..CUSTOMERS).map(|number| format!("k{number}")).collect();
    let crowd = keys.iter().enumerate().map(|(number, key)| {
        let url = if number % 2 == 0 { &stack.url } else { &other.url };
        place(stack, url, strategy, key)
    });
    let replies = futures_util::future::join_all(crowd).await;

    assert!(replies.iter().all(|reply| reply.status == 201 || reply.code() == "out_of_stock"), "{replies:?}");
    place(stack, &stack.url, strategy, "last").await.is(409, "out_of_stock");
    let held = replies.into_iter().filter(|reply| reply.status == 201);
    let yes: Vec<_> = std::iter::once(first).chain(held).collect();
    assert_eq!((yes.len(), stack.available("chair").await), (UNITS, 0), "as many were promised as there were");
    assert_eq!(stack.reservations().await, i64::try_from(UNITS).expect("few"));
    assert_eq!(stack.payments().await.iter().filter(|state| *state == "captured").count(), UNITS);
    yes
}

/// Its tokens are in the answers, and the SKU takes no others from now on.
async fn is_fenced_by(stack: &Stack, yes: &[Reply], source: &str) {
    let token = |reply: &Reply| reply.body["reservation"]["lines"][0]["fencing_token"].as_i64();
    let fence = stack.fence("chair").await;
    assert!(yes.iter().all(|reply| token(reply).is_some_and(|token| 0 < token && token <= fence)), "{yes:?}");
    let bound: String = sqlx::query_scalar("select token_source from stock where sku = 'chair'")
        .fetch_one(&stack.stock)
        .await
        .expect("a SKU");
    assert_eq!(bound, source);
    stack.place("another", "chair", 1).await.is(409, "token_source_mismatch");
}

#[tokio::test]
async fn etcd_fenced_sells_what_there_is_to_a_crowd_and_refuses_the_rest() {
    let etcd = Etcd::start().await.expect("etcd");
    let (stack, other) = two_replicas("etcd", "--etcd-endpoints", "ORDER_ETCD_ENDPOINTS", &etcd.url()).await;
    let yes = sold_to_a_crowd(&stack, &other, "etcd-fenced").await;
    is_fenced_by(&stack, &yes, "etcd").await;
}

#[tokio::test]
async fn zookeeper_fenced_sells_what_there_is_to_a_crowd_and_refuses_the_rest() {
    let zookeeper = Zookeeper::start().await.expect("zookeeper");
    let at = zookeeper.addr().to_string();
    let (stack, other) = two_replicas("zookeeper", "--zookeeper", "ORDER_ZOOKEEPER", &at).await;
    let yes = sold_to_a_crowd(&stack, &other, "zookeeper-fenced").await;
    is_fenced_by(&stack, &yes, "zookeeper").await;
}

#[tokio::test]
async fn postgres_advisory_sells_what_there_is_to_a_crowd_as_long_as_nobody_is_paused() {
    let database = Postgres::shared().await.fresh_database("advisory").await.expect("a database");
    let (stack, other) = two_replicas("advisory", "--advisory-url", "ORDER_ADVISORY_URL", &database).await;
    let yes = sold_to_a_crowd(&stack, &other, "postgres-advisory").await;
    assert!(yes.iter().all(|reply| reply.body["reservation"]["lines"][0]["fencing_token"].is_null()), "{yes:?}");
}

#[tokio::test]
async fn lock_quorum_unavailable_is_503_while_etcd_is_away_and_nothing_is_sold() {
    let mut etcd = Etcd::start().await.expect("etcd");
    let addresses = vec![format!("--etcd-endpoints={}", etcd.url())];
    let stack = Stack::with(Setup { addresses, ..Setup::default() }).await;
    stack.put_stock("chair", 1).await;
    etcd.kill().await;

    let refused = stack.place_with("etcd-fenced", "k", "chair", 1).await;

    refused.is(503, "lock_quorum_unavailable").asks_to_retry();
    assert_eq!((stack.available("chair").await, stack.reservations().await), (1, 0));
}
