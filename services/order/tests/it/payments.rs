//! Payments: captured if and only if the units are the order's, and never left open.

use std::time::Duration;

use contract::Strategy;
use order::{
    domain::order::OrderRequest,
    placement::place_order::PlacementResult,
    store::{key_records::KeyedRequest, payments::PaymentProvider},
};

use crate::stack::{Setup, Stack, eventually};

#[tokio::test]
async fn an_authorisation_that_landed_after_its_order_had_failed_is_voided() {
    let stack = Stack::start().await;
    stack.put_stock("chair", 0).await;
    stack.place("k", "chair", 1).await.is(409, "out_of_stock");
    sqlx::query("insert into payments (order_id, state) select id, 'authorised' from orders")
        .execute(&stack.orders)
        .await
        .expect("insert");

    eventually("voided", async || {
        let round = order::placement::reconcile::round(&stack.app.api.placement).await;
        round.expect("a round");
        stack.payments().await == ["voided"]
    })
    .await;
}

#[tokio::test]
async fn a_retry_after_a_voided_payment_is_authorised_and_captured_anew() {
    let flags = &["--reconcile-ms=3600000", "--payment-timeout-ms=500"];
    let stack = Stack::with(Setup { payment_ms: 600_000, flags, ..Setup::default() }).await;
    stack.put_stock("chair", 1).await;
    stack.place("k", "chair", 1).await.is(503, "payment_timeout").asks_to_retry();
    assert_eq!(stack.available("chair").await, 1, "nothing is written");
    assert_eq!(stack.payments().await, ["voided"]);
    // The provider is fast again.
    let quick =
        PaymentProvider::new(&stack.orders_url, 1, Duration::ZERO, Duration::from_secs(30)).expect("a provider");
    let mut placement = stack.app.api.placement.clone();
    placement.batcher.section.payments = quick;

    let request = KeyedRequest {
        scope: "place-order",
        key: "k".to_owned(),
        order: OrderRequest::parse("ada", [("chair", 1)].into_iter(), stack.app.api.limits).expect("valid"),
        strategy: Strategy::RedlockFenced,
        traceparent: None,
    };
    let placed = placement.place(request, ()).await;

    assert!(matches!(placed, PlacementResult::Final(ref answer, _) if answer.status == 201), "{placed:?}");
    eventually("captured", async || stack.payments().await == ["captured"]).await;
}
