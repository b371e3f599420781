//! One key, one order: replays, concurrent duplicates, and orders whose first
//! attempt never ended.

use std::time::Duration;

use contract::{ProblemCode, Strategy};
use order::{
    domain::order::OrderRequest,
    store::key_records::{BeginResult, Completion, KeyedRequest},
};
use serde_json::json;

use crate::stack::{Reply, Setup, Stack, eventually, order_body};

#[tokio::test]
async fn idempotency_key_missing_is_400() {
    let stack = Stack::start().await;
    let without = stack.http.post(format!("{}/v1/orders", stack.url)).json(&order_body("chair", 1));
    Reply::of(without).await.is(400, "idempotency_key_missing");
    Reply::of(stack.post("").json(&order_body("chair", 1))).await.is(400, "idempotency_key_missing");
}

#[tokio::test]
async fn a_replay_is_the_first_answer_byte_for_byte() {
    let stack = Stack::start().await;
    stack.put_stock("chair", 1).await;
    let first = stack.place("k", "chair", 1).await;
    assert_eq!(first.status, 201, "{}", first.body);

    let again = stack.place("k", "chair", 1).await;

    assert_eq!((again.status, again.bytes.as_slice()), (201, first.bytes.as_slice()));
    for header in ["location", "content-type"] {
        assert_eq!(again.header(header), first.header(header));
    }
    assert_eq!(again.header("idempotent-replayed"), "true");
    assert_eq!((stack.available("chair").await, stack.reservations().await), (0, 1));
}

#[tokio::test]
async fn a_final_refusal_is_replayed_though_there_is_stock_by_now() {
    let stack = Stack::start().await;
    stack.put_stock("chair", 0).await;
    let first = stack.place("k", "chair", 1).await;
    first.is(409, "out_of_stock");
    stack.put_stock("chair", 5).await;

    let again = stack.place("k", "chair", 1).await;

    assert_eq!((again.status, again.bytes), (409, first.bytes));
    assert_eq!(stack.place("other", "chair", 1).await.status, 201);
}

#[tokio::test]
async fn idempotency_key_reused_is_422_for_another_body() {
    let stack = Stack::start().await;
    stack.put_stock("chair", 5).await;
    assert_eq!(stack.place("k", "chair", 1).await.status, 201);

    stack.place("k", "chair", 2).await.is(422, "idempotency_key_reused");
    // The same request written differently is the same request.
    let same = json!({ "lines": [{ "quantity": 1, "sku": "chair" }], "customer": "ada" });
    assert_eq!(Reply::of(stack.post("k").json(&same)).await.status, 201);
    assert_eq!(stack.available("chair").await, 4);
}

#[tokio::test]
async fn idempotency_in_progress_is_409_while_the_first_request_runs() {
    let stack = Stack::with(Setup { payment_ms: 500, ..Setup::default() }).await;
    stack.put_stock("chair", 5).await;
    let first = tokio::spawn(Reply::of(stack.post("k").json(&order_body("chair", 1))));
    eventually("the payment is being authorised", async || !stack.payments().await.is_empty()).await;

    let second = stack.place("k", "chair", 1).await;

    second.is(409, "idempotency_in_progress").asks_to_retry();
    let first = first.await.expect("no panic");
    assert_eq!(first.status, 201, "{}", first.body);
    assert_eq!(stack.place("k", "chair", 1).await.bytes, first.bytes);
    assert_eq!(stack.available("chair").await, 4);
}

#[tokio::test]
async fn concurrent_duplicates_sell_once() {
    let stack = Stack::start().await;
    stack.put_stock("chair", 50).await;

    let replies = futures_util::future::join_all((0..10).map(|_| stack.place("k", "chair", 1))).await;

    assert!(replies.iter().any(|reply| reply.status == 201), "{replies:?}");
    assert!(replies.iter().all(|reply| reply.status == 201 || reply.code() == "idempotency_in_progress"));
    assert_eq!((stack.available("chair").await, stack.reservations().await), (49, 1));
}

/// The state after a crash: the attempt is gone and its claim is overdue.
async fn crash_after_write(stack: &Stack) {
    let forgotten = sqlx::raw_sql(
        "update idempotency_keys set state = 'in_flight', deadline = now() - interval '1 second',
                status_code = null, content_type = null, location = null, body = null;
         update orders set status = 'pending', reservation = null;
         update payments set state = 'authorised', settled_at = null",
    );
    forgotten.execute(&stack.orders).await.expect("update");
}

#[tokio::test]
async fn an_overdue_key_is_taken_over_with_the_same_order_id_and_sells_once() {
    let stack = Stack::start().await;
    stack.put_stock("chair", 1).await; // the last unit: reading stock again would refuse the order
    let first = stack.place("k", "chair", 1).await;
    crash_after_write(&stack).await;

    let again = stack.place("k", "chair", 1).await;

    assert_eq!(again.status, 201, "{}", again.body);
    assert_eq!(again.body["id"], first.body["id"]);
    assert_eq!(again.body["reservation"]["reservation_id"], first.body["reservation"]["reservation_id"]);
    assert_eq!((stack.available("chair").await, stack.reservations().await), (0, 1));
    assert_eq!(stack.payments().await, ["captured"]);
}

#[tokio::test]
async fn a_reservation_whose_order_was_not_recorded_is_found_by_the_reconciler() {
    let stack = Stack::start().await;
    stack.put_stock("chair", 1).await;
    let first = stack.place("k", "chair", 1).await;
    crash_after_write(&stack).await;

    stack.reconcile_until("k", "held").await;

    assert_eq!(stack.payments().await, ["captured"]);
    let again = stack.place("k", "chair", 1).await;
    assert_eq!((again.status, &again.body["id"]), (201, &first.body["id"]));
    assert_eq!(again.header("idempotent-replayed"), "true");
}

#[tokio::test]
async fn an_order_that_crashed_before_its_write_fails_and_can_be_retried() {
    let stack = Stack::start().await;
    stack.put_stock("chair", 1).await;
    let request = request("k", "chair", &stack);
    let result = stack.app.api.placement.db.begin(&request, Duration::ZERO, Duration::ZERO).await.expect("begun");
    let BeginResult::Claimed(claim) = result else { panic!("{result:?}") };

    stack.reconcile_until("k", "failed").await;

    let placed = stack.place("k", "chair", 1).await;
    assert_eq!((placed.status, placed.body["id"].as_str()), (201, Some(claim.order_id.to_string().as_str())));
}

#[tokio::test]
async fn an_attempt_whose_key_was_taken_over_records_nothing() {
    let stack = Stack::start().await;
    stack.put_stock("chair", 1).await;
    let db = &stack.app.api.placement.db;
    let request = request("k", "chair", &stack);
    let BeginResult::Claimed(slow) = db.begin(&request, Duration::ZERO, Duration::ZERO).await.expect("begun") else {
        panic!("not owned")
    };
    let placed = stack.place("k", "chair", 1).await;
    assert_eq!(placed.status, 201, "{}", placed.body);

    let recorded = db.complete(&slow, Completion::Failed(ProblemCode::LockTimeout)).await.expect("complete");

    assert!(!recorded);
    assert_eq!(stack.order_status("k").await, "held");
    assert_eq!(stack.payments().await, ["captured"]);
}

#[tokio::test]
async fn an_expired_key_means_a_new_order() {
    let stack = Stack::start().await;
    stack.put_stock("chair", 5).await;
    let first = stack.place("k", "chair", 1).await;
    order::placement::reconcile::round(&stack.app.api.placement).await.expect("a round");
    assert_eq!(stack.place("k", "chair", 1).await.bytes, first.bytes, "the key has not expired yet");
    let older = include_str!("../../../../migrations/order/older.sql");
    sqlx::raw_sql(older).execute(&stack.orders).await.expect("an older order");

    order::placement::reconcile::round(&stack.app.api.placement).await.expect("a round");

    let second = stack.place("k", "chair", 1).await;
    assert_eq!(second.status, 201, "{}", second.body);
    assert_ne!(second.body["id"], first.body["id"]);
    assert_eq!(stack.available("chair").await, 3);
}

fn request(key: &str, sku: &str, stack: &Stack) -> KeyedRequest {
    let order = OrderRequest::parse("ada", [(sku, 1)].into_iter(), stack.app.api.limits).expect("valid");
    let strategy = Strategy::RedlockFenced;
    KeyedRequest { scope: "place-order", key: key.to_owned(), order, strategy, traceparent: None }
}
