//! What an order and its payment become after it is held.

use crate::{
    process,
    stack::{Reply, Setup, Stack, eventually, start_inventory},
};

async fn conclude(stack: &Stack, held: &Reply, how: &str) -> Reply {
    Reply::of(stack.http.post(format!("{}{}/{how}", stack.url, held.header("location")))).await
}

#[tokio::test]
async fn a_confirmed_order_stays_confirmed_and_may_be_confirmed_again() {
    let stack = Stack::start().await;
    stack.put_stock("chair", 3).await;
    let held = stack.place("k", "chair", 2).await;

    for _ in 0..2 {
        let confirmed = conclude(&stack, &held, "confirm").await;
        assert_eq!((confirmed.status, confirmed.body["status"].as_str()), (200, Some("confirmed")));
    }
    assert_eq!((stack.available("chair").await, stack.payments().await), (1, vec!["captured".to_owned()]));
}

#[tokio::test]
async fn a_cancelled_order_returns_its_units_and_voids_its_payment() {
    let stack = Stack::start().await;
    stack.put_stock("chair", 3).await;
    let held = stack.place("k", "chair", 2).await;

    let cancelled = conclude(&stack, &held, "cancel").await;

    assert_eq!((cancelled.status, cancelled.body["status"].as_str()), (200, Some("cancelled")));
    assert_eq!((stack.available("chair").await, stack.payments().await), (3, vec!["voided".to_owned()]));
}

#[tokio::test]
async fn invalid_state_is_409_with_the_state() {
    let stack = Stack::start().await;
    stack.put_stock("chair", 3).await;
    let (kept, dropped) = (stack.place("k1", "chair", 1).await, stack.place("k2", "chair", 1).await);
    conclude(&stack, &kept, "confirm").await;
    conclude(&stack, &dropped, "cancel").await;

    for (held, how, state) in [(&kept, "cancel", "confirmed"), (&dropped, "confirm", "cancelled")] {
        let refused = conclude(&stack, held, how).await;
        refused.is(409, "invalid_state");
        assert_eq!(refused.body["order_status"], state, "{}", refused.body);
    }
}

#[tokio::test]
async fn reservation_expired_is_409_and_the_payment_of_an_expired_order_is_voided() {
    let flags = &["--reconcile-ms=3600000", "--hold-seconds=1"];
    let stack = Stack::with(Setup { flags, ..Setup::default() }).await;
    stack.put_stock("chair", 3).await;
    let held = stack.place("k", "chair", 2).await;
    assert_eq!(stack.payments().await, ["captured"]);
    eventually("the hold is over", async || {
        let over = sqlx::query_scalar("select expires_at < now() from reservations").fetch_one(&stack.stock);
        over.await.expect("a reservation")
    })
    .await;

    conclude(&stack, &held, "confirm").await.is(409, "reservation_expired");

    stack.reconcile_until("k", "cancelled").await;
    conclude(&stack, &held, "confirm").await.is(409, "reservation_expired");
    assert_eq!((stack.available("chair").await, stack.payments().await), (3, vec!["voided".to_owned()]));
}

#[tokio::test]
async fn overloaded_is_429_while_inventory_is_overloaded_and_the_order_can_be_cancelled_later() {
    let stack = Stack::start().await;
    stack.put_stock("chair", 3).await;
    let held = stack.place("k", "chair", 2).await;
    let busy = start_inventory(&stack.stock_url, &[("INVENTORY_MAX_CONCURRENCY", "1")]).await;
    let order = process::replica(&stack, "busy", &[("ORDER_INVENTORY_URLS", &busy.url)]).await;
    let cancel = || Reply::of(stack.http.post(format!("{}{}/cancel", order.url, held.header("location"))));
    let mut table = stack.stock.begin().await.expect("a transaction");
    sqlx::query("lock table stock").execute(&mut *table).await.expect("the table");
    let read = stack.http.get(format!("{}/v1/stock/chair", busy.url)).bearer_auth(order::config::LAB_TOKEN);
    let reading = tokio::spawn(Reply::of(read));
    eventually("a request waits for the table", async || {
        let waiting = "select exists (select from pg_stat_activity
                        where datname = current_database() and wait_event_type = 'Lock')";
        sqlx::query_scalar(waiting).fetch_one(&stack.stock).await.expect("a flag")
    })
    .await;

    cancel().await.is(429, "overloaded").asks_to_retry();

    table.commit().await.expect("the table is free");
    reading.await.expect("no panic").is(200, "");
    assert_eq!(cancel().await.body["status"], "cancelled");
    assert_eq!(stack.available("chair").await, 3);
}
