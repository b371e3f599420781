//! Placing orders: the answers, and what is stored.

use contract::Strategy;
use order::{
    domain::{error::OrderError, order::OrderRequest},
    placement::place_order::PlacementResult,
    store::key_records::KeyedRequest,
};
use serde_json::json;
use strum::VariantArray as _;

use crate::stack::{Reply, Setup, Stack, eventually, order_body};

#[tokio::test]
async fn an_order_is_held_shown_and_paid_for() {
    let stack = Stack::start().await;
    stack.put_stock("chair", 3).await;

    let placed = stack.place("k", "chair", 2).await;

    assert_eq!(placed.status, 201, "{}", placed.body);
    assert_eq!(placed.body["status"], "held");
    assert_eq!(placed.body["strategy"], "redlock-fenced");
    assert_eq!(placed.body["lines"], json!([{ "sku": "chair", "quantity": 2 }]));
    assert!(placed.body["reservation"]["lines"][0]["fencing_token"].as_u64().is_some_and(|token| token > 0));
    let shown = stack.get(placed.header("location")).await;
    assert_eq!((shown.status, &shown.body), (200, &placed.body));
    assert_eq!(stack.available("chair").await, 1);
    assert_eq!(stack.payments().await, ["captured"]);
}

#[tokio::test]
async fn every_strategy_sells_the_last_unit_once_when_nothing_fails() {
    let stack = Stack::start().await;
    for &strategy in Strategy::VARIANTS {
        let name = strategy.name();
        stack.put_stock(name, 1).await;
        if stack.app.api.placement.section().lock(strategy).is_err() {
            stack.place_with(name, &format!("refused-{name}"), name, 1).await.is(422, "strategy_not_allowed");
            continue;
        }
        let placed = stack.place_with(name, &format!("first-{name}"), name, 1).await;
        assert_eq!((placed.status, &placed.body["strategy"]), (201, &json!(name)), "{}", placed.body);
        stack.place_with(name, &format!("second-{name}"), name, 1).await.is(409, "out_of_stock");
        assert_eq!(stack.available(name).await, 0);
    }
}

#[tokio::test]
async fn answers_carry_the_time_of_every_step() {
    let stack = Stack::with(Setup { payment_ms: 30, ..Setup::default() }).await;
    stack.put_stock("chair", 1).await;

    let placed = stack.place("k", "chair", 1).await;

    let steps: Vec<(&str, f64)> = placed
        .header("server-timing")
        .split(", ")
        .map(|step| step.split_once(";dur=").expect("a duration"))
        .map(|(name, ms)| (name, ms.parse().expect("milliseconds")))
        .collect();
    let names: Vec<_> = steps.iter().map(|(name, _)| *name).collect();
    assert_eq!(names, ["lock", "claim", "decide", "reserve"]);
    assert!(steps[2].1 >= 30.0, "the decision includes the payment: {steps:?}");
}

#[tokio::test]
async fn lines_of_one_sku_are_summed() {
    let stack = Stack::start().await;
    stack.put_stock("chair", 3).await;
    let body = |quantity| json!({ "customer": "ada", "lines": [{ "sku": "chair", "quantity": 2 }, { "sku": "chair", "quantity": quantity }] });

    Reply::of(stack.post("four").json(&body(2))).await.is(409, "out_of_stock");
    let placed = Reply::of(stack.post("three").json(&body(1))).await;

    assert_eq!(placed.status, 201, "{}", placed.body);
    assert_eq!(placed.body["lines"], json!([{ "sku": "chair", "quantity": 3 }]));
    assert_eq!(stack.available("chair").await, 0);
}

#[tokio::test]
async fn several_lines_are_held_all_or_none() {
    let stack = Stack::start().await;
    stack.put_stock("chair", 5).await;
    stack.put_stock("table", 1).await;
    let body = |tables| json!({ "customer": "ada", "lines": [{ "sku": "table", "quantity": tables }, { "sku": "chair", "quantity": 4 }] });

    let refused = Reply::of(stack.post("two-tables").json(&body(2))).await;
    refused.is(409, "out_of_stock");
    assert_eq!((&refused.body["sku"], &refused.body["available"]), (&json!("table"), &json!(1)));
    assert_eq!(stack.available("chair").await, 5);
    let placed = Reply::of(stack.post("one-table").json(&body(1))).await;

    assert_eq!(placed.status, 201, "{}", placed.body);
    assert_eq!((stack.available("chair").await, stack.available("table").await), (1, 0));
    assert_eq!(placed.body["reservation"]["lines"].as_array().map(Vec::len), Some(2));
}

#[tokio::test]
async fn orders_with_their_lines_in_opposite_order_do_not_deadlock() {
    let stack = Stack::start().await;
    stack.put_stock("a", 100).await;
    stack.put_stock("b", 100).await;
    let orders = (0..12).map(|number| {
        let (one, two) = if number % 2 == 0 { ("a", "b") } else { ("b", "a") };
        let body =
            json!({ "customer": "ada", "lines": [{ "sku": one, "quantity": 1 }, { "sku": two, "quantity": 1 }] });
        Reply::of(stack.post(&format!("k{number}")).json(&body))
    });

    let replies = futures_util::future::join_all(orders).await;

    assert!(replies.iter().all(|reply| reply.status == 201), "{replies:?}");
    assert_eq!((stack.available("a").await, stack.available("b").await), (88, 88));
}

#[tokio::test]
async fn concurrent_orders_get_exactly_the_units_there_are() {
    let stack = Stack::start().await;
    stack.put_stock("chair", 8).await;
    let keys: Vec<_> = (0..24).map(|number| format!("k{number}")).collect();

    let replies = futures_util::future::join_all(keys.iter().map(|key| stack.place(key, "chair", 1))).await;

    let held = replies.iter().filter(|reply| reply.status == 201).count();
    assert_eq!(held, 8, "{replies:?}");
    assert!(replies.iter().all(|reply| reply.status == 201 || reply.code() == "out_of_stock"), "{replies:?}");
    assert_eq!((stack.available("chair").await, stack.reservations().await), (0, 8));
    assert_eq!(stack.payments().await.iter().filter(|state| *state == "captured").count(), 8);
}

#[tokio::test]
async fn an_order_is_finished_though_its_client_disconnected() {
    let stack = Stack::with(Setup { payment_ms: 200, ..Setup::default() }).await;
    stack.put_stock("chair", 1).await;
    let request = stack.post("k").json(&order_body("chair", 1)).send();
    let authorised = eventually("the payment is being authorised", async || !stack.payments().await.is_empty());

    tokio::select! {
        answer = request => panic!("answered before the client disconnected: {answer:?}"),
        () = authorised => {}
    }

    eventually("the order is held", async || stack.order_status("k").await == "held").await;
    assert_eq!(stack.place("k", "chair", 1).await.status, 201);
    assert_eq!(stack.reservations().await, 1);
}

#[tokio::test]
async fn shutdown_lets_an_order_in_flight_finish() {
    let mut stack = Stack::with(Setup { payment_ms: 200, ..Setup::default() }).await;
    stack.put_stock("chair", 1).await;
    let placing = tokio::spawn(Reply::of(stack.post("k").json(&order_body("chair", 1))));
    eventually("the payment is being authorised", async || !stack.payments().await.is_empty()).await;

    stack.ask_to_stop();

    assert_eq!(placing.await.expect("no panic").status, 201);
    let lock = stack.redis[0].command(&["GET", "lock:{sku:chair}"]).await.expect("redis");
    assert_eq!(lock, "", "locks are released");
    stack.stop().await;
}

#[tokio::test]
async fn a_panic_while_an_order_is_placed_is_an_internal_error_and_the_order_is_reconciled() {
    let stack = Stack::start().await;
    stack.put_stock("chair", 1).await;
    let mut placement = stack.app.api.placement.clone();
    placement.render = |_| panic!("a defect");
    let order = OrderRequest::parse("ada", [("chair", 1)].into_iter(), stack.app.api.limits).expect("valid");
    let strategy = Strategy::RedlockFenced;
    let request = KeyedRequest { scope: "place-order", key: "k".to_owned(), order, strategy, traceparent: None };

    let placed = placement.place(request, ()).await;

    assert!(matches!(placed, PlacementResult::Retryable(OrderError::Defect(_), _)), "{placed:?}");
    assert_eq!(stack.order_status("k").await, "pending");
    sqlx::query("update idempotency_keys set deadline = now()").execute(&stack.orders).await.expect("update");
    stack.reconcile_until("k", "held").await;
    assert_eq!((stack.reservations().await, stack.payments().await), (1, vec!["captured".to_owned()]));
}
