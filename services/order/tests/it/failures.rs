//! Failures of what an order depends on, each named after its problem code.

use crate::stack::{Reply, Setup, Stack, eventually};

const LOCK: &str = "lock:{sku:chair}";

async fn give_lock_to_another_client(stack: &Stack) {
    for node in &stack.redis {
        node.command(&["SET", LOCK, "owner:other:token:1:expiry:1", "PX", "60000"]).await.expect("redis");
    }
}

async fn delete_lock(stack: &Stack) {
    for node in &stack.redis {
        node.command(&["DEL", LOCK]).await.expect("redis");
    }
}

/// Inventory's queries block until this transaction ends.
async fn lock_stock_table(stack: &Stack) -> sqlx::Transaction<'static, sqlx::Postgres> {
    let mut table = stack.stock.begin().await.expect("a transaction");
    sqlx::raw_sql("lock table stock").execute(&mut *table).await.expect("the table");
    table
}

#[tokio::test]
async fn out_of_stock_is_409_with_the_units_left() {
    let stack = Stack::start().await;
    stack.put_stock("chair", 1).await;

    let refused = stack.place("k", "chair", 2).await;

    refused.is(409, "out_of_stock");
    assert_eq!((refused.body["sku"].as_str(), refused.body["available"].as_i64()), (Some("chair"), Some(1)));
    assert_eq!(stack.order_status("k").await, "failed");
    assert_eq!(stack.reservations().await, 0);
    assert!(stack.payments().await.is_empty(), "no customer is charged for units that are not there");
}

#[tokio::test]
async fn not_found_is_404_for_an_unknown_sku() {
    let stack = Stack::start().await;
    stack.place("k", "unicorn", 1).await.is(404, "not_found");
    stack.place_with("off", "k2", "unicorn", 1).await.is(404, "not_found");
}

#[tokio::test]
async fn lock_timeout_is_503_and_frees_the_key() {
    let stack = Stack::with(Setup { wait_ms: 1_000, ..Setup::default() }).await;
    stack.put_stock("chair", 1).await;
    give_lock_to_another_client(&stack).await;

    let refused = stack.place("k", "chair", 1).await;

    refused.is(503, "lock_timeout").asks_to_retry();
    assert_eq!(stack.reservations().await, 0);
    delete_lock(&stack).await;
    let placed = stack.place("k", "chair", 1).await;
    assert_eq!(placed.status, 201, "{}", placed.body);
}

#[tokio::test]
async fn an_order_that_gets_no_second_grant_is_answered_with_the_error_of_its_first_attempt() {
    let stack = Stack::with(Setup { wait_ms: 1_000, ..Setup::default() }).await;
    stack.put_stock("chair", 1).await;
    let table = lock_stock_table(&stack).await;
    let another_client = async {
        eventually("the order holds the lock", async || {
            stack.redis[0].command(&["EXISTS", LOCK]).await.expect("redis") == "1"
        })
        .await;
        give_lock_to_another_client(&stack).await;
    };

    let (refused, ()) = tokio::join!(stack.place("k", "chair", 1), another_client);

    refused.is(503, "dependency_unavailable").asks_to_retry();
    table.commit().await.expect("the table is free");
    delete_lock(&stack).await;
    let placed = stack.place("k", "chair", 1).await;
    assert_eq!(placed.status, 201, "{}", placed.body);
}

#[tokio::test]
async fn dependency_unavailable_is_503_while_inventory_is_unreachable() {
    let stack = Stack::start().await;
    stack.put_stock("chair", 1).await;
    stack.inventory_line.cut();

    let refused = stack.place("k", "chair", 1).await;

    refused.is(503, "dependency_unavailable").asks_to_retry();
    stack.inventory_line.heal();
    let placed = stack.place("k", "chair", 1).await;
    assert_eq!(placed.status, 201, "{}", placed.body);
}

#[tokio::test]
async fn dependency_unavailable_is_503_while_postgres_is_unreachable() {
    let stack = Stack::start().await;
    stack.put_stock("chair", 1).await;
    stack.database_line.cut();

    let refused = stack.place("k", "chair", 1).await;

    refused.is(503, "dependency_unavailable").asks_to_retry();
    assert_eq!(stack.reservations().await, 0);
    let ready = stack.get("/readyz").await;
    assert_eq!(ready.status, 503, "{}", ready.body);
    assert_eq!(stack.get("/livez").await.status, 200, "alive without its dependencies");
    stack.database_line.heal();
    let placed = stack.place("k", "chair", 1).await;
    assert_eq!(placed.status, 201, "{}", placed.body);
    assert_eq!(stack.get("/readyz").await.status, 200);
}

#[tokio::test]
async fn overloaded_is_429_with_retry_after() {
    let setup = Setup { payment_ms: 200, flags: &["--max-concurrency=1"], ..Setup::default() };
    let stack = Stack::with(setup).await;
    stack.put_stock("chair", 100).await;
    let keys: Vec<_> = (0..8).map(|number| format!("k{number}")).collect();

    let replies = futures_util::future::join_all(keys.iter().map(|key| stack.place(key, "chair", 1))).await;

    let refused = replies.iter().find(|reply| reply.status == 429).expect("one of eight is too many");
    refused.is(429, "overloaded").asks_to_retry();
    assert!(replies.iter().any(|reply| reply.status == 201), "{replies:?}");
}

#[tokio::test]
async fn token_source_mismatch_is_409_and_final() {
    let stack = Stack::start().await;
    stack.put_stock("chair", 1).await;
    sqlx::query("select stock_claim('chair', 1, 'etcd')")
        .execute(&stack.stock)
        .await
        .expect("the claim of another lock service");

    let refused = stack.place("k", "chair", 1).await;

    refused.is(409, "token_source_mismatch");
    assert_eq!(stack.place("k", "chair", 1).await.bytes, refused.bytes);
}

#[tokio::test]
async fn stale_fencing_token_is_409_when_newer_tokens_are_refused_too() {
    let stack = Stack::with(Setup { lease_ms: 600, wait_ms: 3_000, ..Setup::default() }).await;
    stack.put_stock("chair", 1).await;
    // The storage refuses every token.
    sqlx::raw_sql(
        "select stock_claim('chair', 1000000, 'redlock');
         create function refuse() returns trigger language plpgsql as 'begin return null; end';
         create trigger refuse before update of fence on stock for each row execute function refuse()",
    )
    .execute(&stack.stock)
    .await
    .expect("a trigger");

    let refused = stack.place("k", "chair", 1).await;

    refused.is(409, "stale_fencing_token");
    assert_eq!(refused.body["current"].as_u64(), Some(1_000_000));
    assert!(refused.body["token"].as_u64() > Some(1_000_000), "the floor was raised: {}", refused.body);
    assert_eq!(stack.order_status("k").await, "failed");
}

#[tokio::test]
async fn unauthorized_by_inventory_is_500_internal_sells_nothing_and_frees_the_key() {
    let stack = Stack::with(Setup { lab: false, ..Setup::default() }).await; // then its bearer token is not inventory's
    stack.put_stock("chair", 1).await;

    let refused = stack.place("k", "chair", 1).await;

    refused.is(500, "internal");
    assert_eq!((stack.order_status("k").await.as_str(), stack.available("chair").await), ("failed", 1));
    assert!(stack.payments().await.is_empty(), "{:?}", stack.payments().await);
}

#[tokio::test]
async fn deadlines_nest_and_inventory_gives_up_before_order_does() {
    let stack = Stack::with(Setup { wait_ms: 1_000, ..Setup::default() }).await;
    stack.put_stock("chair", 1).await;
    let table = lock_stock_table(&stack).await;

    let refused = stack.place("k", "chair", 1).await;

    refused.is(503, "dependency_unavailable").asks_to_retry();
    let metrics = Reply::of(stack.http.get(format!("{}/metrics", stack.inventories[0].url))).await;
    let metrics = String::from_utf8(metrics.bytes).expect("text");
    let gave_up = "http_requests_total{method=\"POST\",route=\"/v1/claims\",status=\"504\"}";
    assert!(metrics.contains(gave_up), "inventory received the deadline of order: {metrics}");
    table.commit().await.expect("the table is free");
    let placed = stack.place("k", "chair", 1).await;
    assert_eq!(placed.status, 201, "{}", placed.body);
}
