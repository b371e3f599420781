//! What becomes of an order after it is held.

use order::inventory_client::Transition;
use serde_json::Value;

use crate::stack::{Reply, Setup, Stack, eventually};

async fn held(stack: &Stack) -> Value {
    stack.put_stock("chair", 1).await;
    let placed = stack.place("k", "chair", 1).await;
    assert_eq!(placed.status, 201, "{}", placed.body);
    placed.body
}

async fn ask(stack: &Stack, order: &Value, verb: &str) -> Reply {
    let id = order["id"].as_str().expect("an id");
    Reply::of(
        stack
            .http
            .post(format!("{}/v1/orders/{id}/{verb}", stack.url)),
    )
    .await
}

async fn reservation_status(stack: &Stack) -> String {
    sqlx::query_scalar("select status from reservations")
        .fetch_one(&stack.stock)
        .await
        .expect("a reservation")
}

#[tokio::test]
async fn a_held_order_can_be_confirmed_and_then_is_final() {
    let stack = Stack::start().await;
    let order = held(&stack).await;

    let confirmed = ask(&stack, &order, "confirm").await;

    assert_eq!(
        (confirmed.status, confirmed.body["status"].as_str()),
        (200, Some("confirmed")),
        "{}",
        confirmed.body
    );
    assert_eq!(confirmed.body["reservation"]["status"], "confirmed");
    assert_eq!(reservation_status(&stack).await, "confirmed");
    assert_eq!(
        ask(&stack, &order, "confirm").await.status,
        200,
        "so it is already"
    );
    ask(&stack, &order, "cancel").await.is(409, "invalid_state");
    assert_eq!(
        (stack.available("chair").await, stack.payments().await),
        (0, vec!["captured".to_owned()])
    );
}

#[tokio::test]
async fn a_cancelled_order_gives_its_units_and_the_money_back() {
    let stack = Stack::start().await;
    let order = held(&stack).await;

    let cancelled = ask(&stack, &order, "cancel").await;

    assert_eq!(
        (cancelled.status, cancelled.body["status"].as_str()),
        (200, Some("cancelled")),
        "{}",
        cancelled.body
    );
    assert_eq!(reservation_status(&stack).await, "cancelled");
    assert_eq!(
        ask(&stack, &order, "cancel").await.status,
        200,
        "so it is already"
    );
    ask(&stack, &order, "confirm")
        .await
        .is(409, "invalid_state");
    assert_eq!(
        (stack.available("chair").await, stack.payments().await),
        (1, vec!["voided".to_owned()])
    );
    assert_eq!(stack.place("next", "chair", 1).await.status, 201);
}

#[tokio::test]
async fn invalid_state_is_409_for_an_order_that_failed() {
    let stack = Stack::start().await;
    stack.put_stock("chair", 0).await;
    stack.place("k", "chair", 1).await.is(409, "out_of_stock");
    let id: String = sqlx::query_scalar("select id::text from orders")
        .fetch_one(&stack.orders)
        .await
        .expect("an order");
    let order = serde_json::json!({ "id": id });
    ask(&stack, &order, "confirm")
        .await
        .is(409, "invalid_state");
    ask(&stack, &order, "cancel").await.is(409, "invalid_state");
}

#[tokio::test]
async fn a_confirmation_whose_reply_was_lost_can_be_asked_for_again() {
    let stack = Stack::start().await;
    let order = held(&stack).await;
    let placing = &stack.app.placing;
    let reservation = order["reservation"]["reservation_id"]
        .as_str()
        .expect("an id")
        .parse()
        .expect("a UUID");
    let soon = tokio::time::Instant::now() + std::time::Duration::from_secs(10);
    // It reached inventory, and the order service never heard so.
    placing
        .section
        .inventory
        .transition(reservation, Transition::Confirm, soon)
        .await
        .expect("confirmed");

    let confirmed = ask(&stack, &order, "confirm").await;

    assert_eq!(
        (confirmed.status, confirmed.body["status"].as_str()),
        (200, Some("confirmed")),
        "{}",
        confirmed.body
    );
}

#[tokio::test]
async fn reservation_expired_is_409_and_the_order_ends_paid_back() {
    let setup = Setup {
        flags: &["--reconcile-ms=50", "--hold-seconds=1"],
        ..Setup::default()
    };
    let stack = Stack::with(setup).await;
    let order = held(&stack).await;
    let over = "select expires_at <= now() from reservations";
    eventually("the hold is over", async || {
        sqlx::query_scalar(over)
            .fetch_one(&stack.stock)
            .await
            .expect("a reservation")
    })
    .await;

    ask(&stack, &order, "confirm")
        .await
        .is(409, "reservation_expired");

    eventually("the order ends with its hold", async || {
        stack.order_status("k").await == "cancelled"
    })
    .await;
    assert_eq!(
        (stack.payments().await, stack.available("chair").await),
        (vec!["voided".to_owned()], 1)
    );
    ask(&stack, &order, "confirm")
        .await
        .is(409, "reservation_expired");
}

#[tokio::test]
async fn a_payment_that_succeeds_after_its_hold_expired_is_voided() {
    let setup = Setup {
        flags: &["--reconcile-ms=3600000", "--hold-seconds=1"],
        ..Setup::default()
    };
    let stack = Stack::with(setup).await;
    held(&stack).await;
    // As a crash right after the reserve leaves it: authorised, never captured.
    sqlx::raw_sql(
        "update idempotency_keys set state = 'in_flight', deadline = now() - interval '1 second',
                status_code = null, content_type = null, location = null, body = null;
         update orders set status = 'pending', reservation = null;
         update payments set state = 'authorised', settled_at = null",
    )
    .execute(&stack.orders)
    .await
    .expect("update");
    eventually("the hold has expired", async || {
        reservation_status(&stack).await == "expired"
    })
    .await;

    let again = stack.place("k", "chair", 1).await;

    again.is(409, "reservation_expired");
    assert_eq!(
        (stack.payments().await, stack.order_status("k").await),
        (vec!["voided".to_owned()], "failed".to_owned())
    );
    assert_eq!(stack.available("chair").await, 1);
}
