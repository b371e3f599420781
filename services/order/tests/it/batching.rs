//! Orders that wait for the same SKU share a grant and a write, and each still
//! succeeds or fails by itself.

use std::{collections::HashMap, time::Duration};

use fenced_lock::{Grant, Lease, Locks, Nodes, Options, Resource, Wait};
use serde_json::{Value, json};
use testbed::RedisNode;

use crate::stack::{Reply, Setup, Stack, eventually, order_body};

/// Somebody else has the lock on `sku`, until it is released.
pub(crate) async fn shut(stack: &Stack, sku: &str) -> Grant {
    let nodes = stack.redis.iter().map(RedisNode::url).collect::<Vec<_>>().join(",");
    let locks = Locks::redlock(Nodes::parse(&nodes).expect("nodes"), Options::default());
    let lease = Lease::new(Duration::from_mins(5)).expect("a lease");
    let resource = Resource::new(format!("sku:{sku}")).expect("a name");
    let grant = locks.try_lock(&resource, Wait::none(), lease).await;
    grant.expect("a quorum").expect("nobody has it")
}

/// Sends the orders, and returns when each has its key and waits.
pub(crate) async fn gather(stack: &Stack, bodies: &[Value]) -> Vec<tokio::task::JoinHandle<Reply>> {
    let send = |(number, body)| tokio::spawn(Reply::of(stack.post(&format!("k{number}")).json(body)));
    let placing: Vec<_> = bodies.iter().enumerate().map(send).collect();
    let many = i64::try_from(bodies.len()).expect("few");
    eventually("everybody waits", async || {
        let waiting: i64 = sqlx::query_scalar("select count(*) from idempotency_keys where state = 'in_flight'")
            .fetch_one(&stack.orders)
            .await
            .expect("a count");
        waiting == many
    })
    .await;
    placing
}

async fn answers(placing: Vec<tokio::task::JoinHandle<Reply>>) -> Vec<Reply> {
    let replies = futures_util::future::join_all(placing).await;
    replies.into_iter().map(|reply| reply.expect("no panic")).collect()
}

/// Rows of the ledger by the token they were written with.
async fn rows_by_fence(stack: &Stack) -> HashMap<i64, i64> {
    let rows: Vec<(i64, i64)> =
        sqlx::query_as("select fence, count(*) from stock_ledger where kind = 'reserve' group by fence")
            .fetch_all(&stack.stock)
            .await
            .expect("rows");
    rows.into_iter().collect()
}

/// They may be waited for longer than the machine is busy.
fn patient() -> Setup {
    Setup { wait_ms: 30_000, ..Setup::default() }
}

#[tokio::test]
async fn orders_that_wait_for_the_same_sku_share_a_grant_and_one_write() {
    let stack = Stack::with(patient()).await;
    stack.put_stock("chair", 8).await;
    let elsewhere = shut(&stack, "chair").await;
    let placing = gather(&stack, &vec![order_body("chair", 1); 8]).await;
    elsewhere.release().await.expect("released");

    let replies = answers(placing).await;

    assert!(replies.iter().all(|reply| reply.status == 201), "{replies:?}");
    let rows = rows_by_fence(&stack).await;
    assert!(rows.values().any(|rows| *rows > 1), "eight orders, eight writes: {rows:?}");
    let broken: i64 = sqlx::query_scalar(
        "select count(*) from (select before, lag(after) over (order by seq) as was from stock_ledger) as l
          where before <> was",
    )
    .fetch_one(&stack.stock)
    .await
    .expect("a count");
    assert_eq!((broken, stack.available("chair").await, stack.reservations().await), (0, 0, 8));
    assert_eq!(stack.payments().await, ["captured"; 8]);
}

#[tokio::test]
async fn each_order_of_a_party_gets_all_it_wants_or_is_refused_by_itself() {
    let stack = Stack::with(patient()).await;
    stack.put_stock("chair", 3).await;
    let elsewhere = shut(&stack, "chair").await;
    let quantities = [2, 9, 2, 1];
    let placing = gather(&stack, &quantities.map(|quantity| order_body("chair", quantity))).await;
    elsewhere.release().await.expect("released");

    let replies = answers(placing).await;

    let sold: i64 = replies.iter().zip(quantities).filter(|(reply, _)| reply.status == 201).map(|(_, q)| q).sum();
    assert_eq!((sold, stack.available("chair").await, stack.reservations().await), (3, 0, 2), "{replies:?}");
    replies[1].is(409, "out_of_stock");
    let refused = replies.iter().filter(|reply| reply.code() == "out_of_stock").count();
    assert_eq!(refused, 2, "{replies:?}");
    assert!(!stack.payments().await.contains(&"authorised".to_owned()), "none is left open");
}

#[tokio::test]
async fn orders_of_several_lines_share_too() {
    let stack = Stack::with(patient()).await;
    stack.put_stock("chair", 4).await;
    stack.put_stock("table", 2).await;
    let elsewhere = shut(&stack, "chair").await;
    let set = json!({ "customer": "ada", "lines": [
        { "sku": "table", "quantity": 1 }, { "sku": "chair", "quantity": 1 }, { "sku": "chair", "quantity": 1 }] });
    let placing = gather(&stack, &vec![set; 3]).await;
    elsewhere.release().await.expect("released");

    let replies = answers(placing).await;

    let held = replies.iter().filter(|reply| reply.status == 201).count();
    assert_eq!(held, 2, "{replies:?}");
    assert!(replies.iter().all(|reply| reply.status == 201 || reply.code() == "out_of_stock"), "{replies:?}");
    assert_eq!((stack.available("chair").await, stack.available("table").await), (0, 0));
}

#[tokio::test]
async fn an_order_whose_wait_is_over_leaves_and_keeps_nobody_from_going_on() {
    let stack = Stack::with(Setup { wait_ms: 1_000, ..Setup::default() }).await;
    stack.put_stock("chair", 5).await;
    let elsewhere = shut(&stack, "chair").await;

    let replies = answers(gather(&stack, &vec![order_body("chair", 1); 3]).await).await;

    for reply in &replies {
        reply.is(503, "lock_timeout").asks_to_retry();
    }
    assert_eq!((stack.reservations().await, stack.payments().await.len()), (0, 0));
    elsewhere.release().await.expect("released");
    eventually("it can be had again", async || stack.place("k0", "chair", 1).await.status == 201).await;
}
