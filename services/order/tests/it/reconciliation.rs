//! The periodic work of the order service: what cannot be done, or takes long, does not delay the rest.

use std::time::Duration;

use fenced_lock::{Lease, Locks, Nodes, Options, Resource, Wait};
use order::placement::reconcile;
use testbed::RedisNode;
use tokio::time::timeout;

use crate::stack::{Setup, Stack, eventually};

/// Inserts pending orders of one unit a day and an hour ago whose last attempt left them unresolved; the
/// keys are `name` and a number from 1.
async fn insert_unresolved(stack: &Stack, name: &str, count: i32, strategy: &str, sku: &str) {
    let inserted = sqlx::query(
        "with pending as (
            insert into orders (id, customer, strategy, idempotency_key)
            select overlay(gen_random_uuid()::text placing left(first_id_at(now() - interval '25 hours')::text, 13)
                           from 1 for 13)::uuid, 'ada', $3, $1 || number from generate_series(1, $2) as number
            returning id, idempotency_key
         ), lined as (
            insert into order_lines (order_id, sku, quantity) select id, $4, 1 from pending
         )
         insert into idempotency_keys (scope, key, fingerprint, order_id, state, deadline)
         select 'place-order', idempotency_key, '', id, 'unresolved', now() from pending",
    );
    let inserted = inserted.bind(name).bind(count).bind(strategy).bind(sku).execute(&stack.orders).await;
    assert_eq!(inserted.expect("insert").rows_affected(), u64::try_from(count).expect("a count"));
}

async fn count(stack: &Stack, query: &'static str) -> i64 {
    sqlx::query_scalar(query).fetch_one(&stack.orders).await.expect("a count")
}

#[tokio::test]
async fn orders_that_cannot_be_resolved_go_to_the_back_and_are_tried_again_after_growing_pauses() {
    let stack = Stack::start().await;
    stack.put_stock("chair", 1).await;
    // Their lock server is not configured here; more than one round takes.
    insert_unresolved(&stack, "stuck", 70, "etcd-fenced", "table").await;
    insert_unresolved(&stack, "unread", 1, "of-a-newer-version", "table").await;
    insert_unresolved(&stack, "behind", 1, "redlock-fenced", "chair").await;

    stack.reconcile_until("behind1", "failed").await;

    for _ in 0..20 {
        reconcile::round(&stack.app.api.placement).await.expect("a round");
    }
    let attempts = count(&stack, "select max(attempt)::bigint from idempotency_keys where key like 'stuck%'").await;
    println!("the stuck orders were tried {} times in more than 20 rounds", attempts - 1);
    assert!(attempts < 10, "{attempts} attempts");
    let pending = "select count(*) from orders where status = 'pending'";
    assert_eq!(count(&stack, pending).await, 71, "nothing is decided where nothing is known");
}

#[tokio::test]
async fn orders_of_a_sku_whose_lock_somebody_keeps_do_not_delay_the_reconciliation_of_another_sku() {
    let stack = Stack::with(Setup { flags: &["--reconcile-ms=50"], ..Setup::default() }).await;
    for sku in ["stuck", "other"] {
        stack.put_stock(sku, 1).await;
    }
    let nodes = stack.redis.iter().map(RedisNode::url).collect::<Vec<_>>().join(",");
    let locks = Locks::redlock(Nodes::parse(&nodes).expect("nodes"), Options::default());
    let lease = Lease::new(Duration::from_mins(1)).expect("a lease");
    let kept = locks.try_lock(&Resource::new("sku:stuck").expect("a resource"), Wait::none(), lease).await;
    let kept = kept.expect("a quorum").expect("the lock is free");
    let under_way = "select count(*) from idempotency_keys where key like 'stuck%' and state = 'in_flight'";
    insert_unresolved(&stack, "stuck", 150, "redlock-fenced", "stuck").await;
    eventually("a round waits for the lock", async || count(&stack, under_way).await > 0).await;

    insert_unresolved(&stack, "other", 1, "redlock-fenced", "other").await;

    // Half of the time that the others wait for their lock.
    let resolved = eventually("resolved", async || stack.order_status("other1").await == "failed");
    timeout(Duration::from_secs(5), resolved).await.expect("the other SKU's order is resolved meanwhile");
    let waiting = count(&stack, under_way).await;
    assert!((1..=64).contains(&waiting), "{waiting} orders wait for one lock");
    kept.release().await.expect("released");
    let pending = "select count(*) from orders where status = 'pending'";
    eventually("all are resolved", async || count(&stack, pending).await == 0).await;
}

#[tokio::test]
async fn a_panic_while_an_order_is_reconciled_does_not_concern_the_others() {
    let stack = Stack::start().await;
    stack.put_stock("chair", 1).await;
    // The answer that inventory has no such SKU is final, and is rendered.
    insert_unresolved(&stack, "panics", 1, "redlock-fenced", "unknown").await;
    insert_unresolved(&stack, "behind", 1, "redlock-fenced", "chair").await;
    let mut placement = stack.app.api.placement.clone();
    placement.render = |_| Box::pin(async { panic!("as the test wants") });

    reconcile::round(&placement).await.expect("a round");

    eventually("resolved", async || stack.order_status("behind1").await == "failed").await;
}

#[tokio::test]
async fn reviews_that_get_no_answer_do_not_wait_for_each_other() {
    let stack = Stack::start().await;
    stack.put_stock("chair", 40).await;
    for key in 0..40 {
        assert_eq!(stack.place(&key.to_string(), "chair", 1).await.status, 201);
    }
    sqlx::query("update orders set review_at = now()").execute(&stack.orders).await.expect("update");
    stack.inventory_line.drop_to_client(true);

    // Each takes a second or more by itself.
    let round = timeout(Duration::from_secs(15), reconcile::round(&stack.app.api.placement)).await;

    round.expect("forty reviews take about as long as one").expect("a round");
}

#[tokio::test]
async fn a_step_of_the_periodic_work_that_fails_does_not_keep_the_others_from_being_done() {
    let stack = Stack::start().await;
    stack.put_stock("chair", 0).await;
    stack.place("k", "chair", 1).await.is(409, "out_of_stock");
    let mut other = stack.orders.begin().await.expect("a transaction");
    sqlx::query("lock table idempotency_keys in access exclusive mode").execute(&mut *other).await.expect("a lock");
    let open = "insert into payments (order_id, state) select id, 'authorised' from orders";
    sqlx::query(open).execute(&stack.orders).await.expect("insert");

    let round = reconcile::round(&stack.app.api.placement).await;

    assert!(round.is_err(), "no key can be claimed or deleted: {round:?}");
    assert_eq!(stack.payments().await, ["voided"], "payments do not need the keys");
    other.rollback().await.expect("rollback");
}

#[tokio::test]
async fn expired_keys_are_deleted_in_batches_without_waiting_for_one_that_is_locked_or_touching_one_in_use() {
    let stack = Stack::start().await;
    insert_unresolved(&stack, "old", 1_200, "etcd-fenced", "chair").await;
    insert_unresolved(&stack, "pending", 1, "etcd-fenced", "chair").await;
    let ended = "with ended as (update orders set status = 'failed' where idempotency_key like 'old%')
                 update idempotency_keys set state = 'free' where key like 'old%'";
    sqlx::query(ended).execute(&stack.orders).await.expect("update");
    let mut other = stack.orders.begin().await.expect("a transaction");
    let locked = "select key from idempotency_keys where key = 'old1' for update";
    sqlx::query(locked).execute(&mut *other).await.expect("a lock");

    reconcile::round(&stack.app.api.placement).await.expect("a round");

    let left: Vec<String> = sqlx::query_scalar("select key from idempotency_keys order by key")
        .fetch_all(&stack.orders)
        .await
        .expect("keys");
    assert_eq!(left, ["old1", "pending1"]);
    other.rollback().await.expect("rollback");
}
