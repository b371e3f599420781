//! Money: captured if and only if the order stands, and never left open.

use crate::stack::{Stack, eventually};

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
        let round = order::placement::reconcile::round(&stack.app.placement).await;
        round.expect("a round");
        stack.payments().await == ["voided"]
    })
    .await;
}

#[tokio::test]
async fn a_retry_after_a_voided_payment_is_authorised_and_captured_anew() {
    let setup = crate::stack::Setup { payment_ms: 1_000, lease_ms: 600, wait_ms: 3_000, ..Default::default() };
    let stack = Stack::with(setup).await;
    stack.put_stock("chair", 1).await;
    stack.place("k", "chair", 1).await.is(503, "lock_timeout");
    assert_eq!(stack.payments().await, ["voided"]);
    // The provider recovers: the next replica is configured for it.
    let quick = order::store::payments::PaymentProvider::new(&stack.orders_url, 1, std::time::Duration::ZERO)
        .expect("a provider");
    let mut placing = (*stack.app.placement).clone();
    placing.batcher.section.payments = quick;

    let request = order::store::orders::KeyedRequest {
        scope: "place-order",
        key: "k".to_owned(),
        wanted: order::domain::order::OrderRequest::parse("ada", [("chair", 1)].into_iter(), stack.app.limits)
            .expect("valid"),
        strategy: order::strategy::Strategy::RedlockFenced,
        traceparent: None,
    };
    let placed = placing.place(request).await;

    assert!(
        matches!(placed, order::placement::service::PlacementResult::Final(ref answer, _) if answer.status == 201),
        "{placed:?}"
    );
    eventually("captured", async || stack.payments().await == ["captured"]).await;
}
