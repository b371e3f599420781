//! Orders that wait for the same SKU share a grant and a write, and each still
//! succeeds or fails by itself.

use std::{
    collections::HashMap,
    sync::atomic::{AtomicUsize, Ordering},
    time::Duration,
};

use fenced_lock::{Grant, Lease, Locks, Nodes, Options, Resource, Wait};
use serde_json::{Value, json};
use testbed::RedisNode;

use crate::stack::{Reply, Setup, Stack, eventually, order_body};

/// Another client holds the lock of `sku` until the grant is released.
pub(crate) async fn hold_lock(stack: &Stack, sku: &str) -> Grant {
    let nodes = stack.redis.iter().map(RedisNode::url).collect::<Vec<_>>().join(",");
    let locks = Locks::redlock(Nodes::parse(&nodes).expect("nodes"), Options::default());
    let lease = Lease::new(Duration::from_mins(5)).expect("a lease");
    let resource = Resource::new(format!("sku:{sku}")).expect("a name");
    let grant = locks.try_lock(&resource, Wait::none(), lease).await;
    grant.expect("a quorum").expect("the lock is free")
}

/// Sends the orders, and returns when each has claimed its key and waits for the lock.
pub(crate) async fn queue_up(stack: &Stack, bodies: &[Value]) -> Vec<tokio::task::JoinHandle<Reply>> {
    let send = |(number, body)| tokio::spawn(Reply::of(stack.post(&format!("k{number}")).json(body)));
    let placing: Vec<_> = bodies.iter().enumerate().map(send).collect();
    let many = i64::try_from(bodies.len()).expect("few");
    eventually("all orders wait", async || {
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

/// Waits long enough for a busy machine.
fn long_wait() -> Setup {
    Setup { wait_ms: 30_000, ..Setup::default() }
}

#[tokio::test]
async fn orders_that_wait_for_the_same_sku_share_a_grant_and_one_write() {
    let stack = Stack::with(long_wait()).await;
    stack.put_stock("chair", 8).await;
    let elsewhere = hold_lock(&stack, "chair").await;
    let placing = queue_up(&stack, &vec![order_body("chair", 1); 8]).await;
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
async fn each_order_of_a_batch_gets_all_its_units_or_is_refused_by_itself() {
    let stack = Stack::with(long_wait()).await;
    stack.put_stock("chair", 3).await;
    let elsewhere = hold_lock(&stack, "chair").await;
    let quantities = [2, 9, 2, 1];
    let placing = queue_up(&stack, &quantities.map(|quantity| order_body("chair", quantity))).await;
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
async fn orders_of_several_lines_share_a_grant_too() {
    let stack = Stack::with(long_wait()).await;
    stack.put_stock("chair", 4).await;
    stack.put_stock("table", 2).await;
    let elsewhere = hold_lock(&stack, "chair").await;
    let set = json!({ "customer": "ada", "lines": [
        { "sku": "table", "quantity": 1 }, { "sku": "chair", "quantity": 1 }, { "sku": "chair", "quantity": 1 }] });
    let placing = queue_up(&stack, &vec![set; 3]).await;
    elsewhere.release().await.expect("released");

    let replies = answers(placing).await;

    let held = replies.iter().filter(|reply| reply.status == 201).count();
    assert_eq!(held, 2, "{replies:?}");
    assert!(replies.iter().all(|reply| reply.status == 201 || reply.code() == "out_of_stock"), "{replies:?}");
    assert_eq!((stack.available("chair").await, stack.available("table").await), (0, 0));
}

#[tokio::test]
async fn an_order_whose_wait_is_over_leaves_its_queue_and_blocks_no_other() {
    let stack = Stack::with(Setup { wait_ms: 1_000, ..Setup::default() }).await;
    stack.put_stock("chair", 5).await;
    let elsewhere = hold_lock(&stack, "chair").await;

    let replies = answers(queue_up(&stack, &vec![order_body("chair", 1); 3]).await).await;

    for reply in &replies {
        reply.is(503, "lock_timeout").asks_to_retry();
    }
    assert_eq!((stack.reservations().await, stack.payments().await.len()), (0, 0));
    elsewhere.release().await.expect("released");
    eventually("the lock is free again", async || stack.place("k0", "chair", 1).await.status == 201).await;
}

/// Panics where the size of a batch is recorded, which is under the lock, in the task of the queue. Everything of a
/// test that is started with [`Stack`] and no further process runs in one thread, so a recorder of this thread does.
struct PanickingRecorder {
    /// How many batches panic.
    panics: usize,
    batches: AtomicUsize,
}

impl metrics::Recorder for PanickingRecorder {
    fn describe_counter(&self, _: metrics::KeyName, _: Option<metrics::Unit>, _: metrics::SharedString) {}
    fn describe_gauge(&self, _: metrics::KeyName, _: Option<metrics::Unit>, _: metrics::SharedString) {}
    fn describe_histogram(&self, _: metrics::KeyName, _: Option<metrics::Unit>, _: metrics::SharedString) {}

    fn register_counter(&self, _: &metrics::Key, _: &metrics::Metadata<'_>) -> metrics::Counter {
        metrics::Counter::noop()
    }

    fn register_gauge(&self, _: &metrics::Key, _: &metrics::Metadata<'_>) -> metrics::Gauge {
        metrics::Gauge::noop()
    }

    fn register_histogram(&self, key: &metrics::Key, _: &metrics::Metadata<'_>) -> metrics::Histogram {
        if key.name() == "order_batch_size" {
            assert!(self.batches.fetch_add(1, Ordering::Relaxed) >= self.panics, "the test's panic");
        }
        metrics::Histogram::noop()
    }
}

#[tokio::test]
async fn a_batch_that_panics_leaves_its_orders_outcome_unknown_and_its_queue_goes_on() {
    let stack = Stack::with(long_wait()).await;
    stack.put_stock("chair", 5).await;
    let recorder = PanickingRecorder { panics: 2, batches: AtomicUsize::new(0) };
    let _of_this_thread = metrics::set_default_local_recorder(&recorder);
    let elsewhere = hold_lock(&stack, "chair").await;
    let placing = queue_up(&stack, &vec![order_body("chair", 1); 3]).await;
    elsewhere.release().await.expect("released");

    let replies = answers(placing).await;

    // Each looked for its reservation, found none, and was placed by the next start of the leader.
    assert!(replies.iter().all(|reply| reply.status == 201), "{replies:?}");
    assert_eq!(stack.place("next", "chair", 1).await.status, 201);
    assert!(recorder.batches.load(Ordering::Relaxed) > 3, "two panics, and at least two batches that were served");
    assert_eq!((stack.available("chair").await, stack.reservations().await), (1, 4));
    assert_eq!(stack.payments().await, ["captured"; 4]);
    stack.stop().await;
}

#[tokio::test]
async fn orders_whose_batches_always_panic_are_answered_in_time_and_do_not_delay_the_stop() {
    let stack = Stack::with(Setup { wait_ms: 1_000, ..Setup::default() }).await;
    stack.put_stock("chair", 5).await;
    let recorder = PanickingRecorder { panics: usize::MAX, batches: AtomicUsize::new(0) };
    let _of_this_thread = metrics::set_default_local_recorder(&recorder);

    let replies = answers(queue_up(&stack, &vec![order_body("chair", 1); 3]).await).await;

    // An order that joined the queue during a pause may have been in no batch.
    let answered = |reply: &Reply| reply.asks_to_retry().status == 503;
    assert!(replies.iter().all(answered), "{replies:?}");
    assert!(replies.iter().any(|reply| reply.body["title"] == "Outcome not known yet"), "{replies:?}");
    assert_eq!((stack.reservations().await, stack.payments().await.len()), (0, 0));
    stack.stop().await;
}
