//! What becomes of an order after it is held, and what becomes of its money.

use crate::stack::{Reply, Setup, Stack, eventually};

async fn conclude(stack: &Stack, held: &Reply, how: &str) -> Reply {
    Reply::of(stack.http.post(format!("{}{}/{how}", stack.url, held.header("location")))).await
}

#[tokio::test]
async fn a_confirmed_order_stays_so_and_may_be_confirmed_again() {
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
async fn a_cancelled_order_gives_back_units_and_money() {
    let stack = Stack::start().await;
    stack.put_stock("chair", 3).await;
    let held = stack.place("k", "chair", 2).await;

    let cancelled = conclude(&stack, &held, "cancel").await;

    assert_eq!((cancelled.status, cancelled.body["status"].as_str()), (200, Some("cancelled")));
    assert_eq!((stack.available("chair").await, stack.payments().await), (3, vec!["voided".to_owned()]));
}

#[tokio::test]
async fn invalid_state_is_409_and_tells_the_state() {
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
async fn reservation_expired_is_409_and_a_payment_that_came_too_late_is_given_back() {
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
