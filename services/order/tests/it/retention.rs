//! Retention: orders that are over and old are deleted, nothing else is, and nothing is concluded from what inventory has
//! deleted.

use order::placement::reconcile;

use crate::stack::{Setup, Stack};

const OLDER_ORDERS: &str = include_str!("../../../../migrations/order/older.sql");
const OLDER_STOCK: &str = include_str!("../../../../migrations/inventory/older.sql");
/// A hold of a year is alive after forty days.
const KEPT_39_DAYS: Setup = Setup {
    redis_nodes: 3,
    cluster_mode: false,
    lock_lines: false,
    inventories: 1,
    lab: true,
    lease_ms: 3_000,
    wait_ms: 10_000,
    payment_ms: 2,
    flags: &["--reconcile-ms=3600000", "--retain-days=39", "--hold-seconds=31536000"],
    addresses: Vec::new(),
};

async fn place_and(stack: &Stack, key: &str, transition: &str) {
    let placed = stack.place(key, "chair", 1).await;
    assert_eq!(placed.status, 201, "{}", placed.body);
    let id = placed.body["id"].as_str().expect("an id");
    let sent = stack.http.post(format!("{}/v1/orders/{id}/{transition}", stack.url)).send().await.expect("an answer");
    assert!(sent.status().is_success(), "{key}");
}

async fn keys_of_orders(stack: &Stack) -> Vec<String> {
    sqlx::query_scalar("select idempotency_key from orders order by 1").fetch_all(&stack.orders).await.expect("keys")
}

async fn count(stack: &Stack, query: &'static str) -> i64 {
    sqlx::query_scalar(query).fetch_one(&stack.orders).await.expect("a count")
}

#[tokio::test]
async fn orders_that_are_over_and_old_are_deleted_and_no_others() {
    let stack = Stack::with(KEPT_39_DAYS).await;
    stack.put_stock("chair", 9).await;
    place_and(&stack, "confirmed", "confirm").await;
    place_and(&stack, "cancelled", "cancel").await;
    assert_eq!(stack.place("held", "chair", 1).await.status, 201);
    sqlx::raw_sql(OLDER_ORDERS).execute(&stack.orders).await.expect("older orders");
    sqlx::raw_sql(OLDER_STOCK).execute(&stack.stock).await.expect("older reservations");
    place_and(&stack, "young", "confirm").await;

    reconcile::round(&stack.app.api.placement).await.expect("a round");

    assert_eq!(keys_of_orders(&stack).await, ["held", "young"]);
    let lines = "select count(*) from order_lines l join orders o on o.id = l.order_id";
    let payments = "select count(*) from payments p join orders o on o.id = p.order_id where p.state = 'captured'";
    assert_eq!((count(&stack, lines).await, count(&stack, payments).await), (2, 2));
    assert_eq!(count(&stack, "select count(*) from order_lines").await, 2);
    let recorded = "select count(*) from retention where forgotten_before between now() - interval '39 days 1 minute'
                       and now() - interval '38 days 23 hours'";
    assert_eq!(count(&stack, recorded).await, 1);
}

#[tokio::test]
async fn orders_whose_key_or_payment_is_in_use_are_kept() {
    let stack = Stack::with(KEPT_39_DAYS).await;
    stack.put_stock("chair", 9).await;
    for key in ["in-flight", "unsettled", "over"] {
        place_and(&stack, key, "cancel").await;
    }
    sqlx::raw_sql(OLDER_ORDERS).execute(&stack.orders).await.expect("older orders");
    let busy = "update idempotency_keys set state = 'in_flight', status_code = null, content_type = null, body = null,
                       deadline = now() + interval '1 hour' where key = 'in-flight';
                delete from idempotency_keys where key <> 'in-flight';
                update payments set state = 'authorised' where order_id =
                       (select id from orders where idempotency_key = 'unsettled')";
    sqlx::raw_sql(busy).execute(&stack.orders).await.expect("an update");

    let deleted = stack.app.api.placement.db.delete_old_orders(500, std::time::Duration::from_hours(24)).await;

    assert_eq!(deleted.expect("a batch"), 1);
    assert_eq!(keys_of_orders(&stack).await, ["in-flight", "unsettled"]);
}

#[tokio::test]
async fn nothing_is_concluded_from_a_reservation_that_may_have_been_deleted() {
    let stack = Stack::start().await;
    stack.put_stock("chair", 1).await;
    let unresolved = "with pending as (
            insert into orders (id, customer, strategy, idempotency_key)
            select first_id_at(now() - age), 'ada', 'redlock-fenced', key
              from (values ('old', interval '40 days'), ('young', interval '38 days')) as k (key, age)
            returning id, idempotency_key
         ), lined as (
            insert into order_lines (order_id, sku, quantity) select id, 'chair', 1 from pending
         )
         insert into idempotency_keys (scope, key, fingerprint, order_id, state, deadline)
         select 'place-order', idempotency_key, '', id, 'unresolved', now() from pending";
    sqlx::query(unresolved).execute(&stack.orders).await.expect("two orders");
    let retention = "set role inventory_owner;
                     insert into retention (forgotten_before) values (now() - interval '39 days'); reset role";
    sqlx::raw_sql(retention).execute(&stack.stock).await.expect("a row");

    stack.reconcile_until("young", "failed").await;
    reconcile::round(&stack.app.api.placement).await.expect("a round");

    assert_eq!(stack.order_status("old").await, "pending");
    let unresolved = "select count(*) from idempotency_keys where key = 'old' and state <> 'done' and state <> 'free'
                         and attempt > 1";
    assert_eq!(count(&stack, unresolved).await, 1, "it was tried, and nothing was decided");
}
