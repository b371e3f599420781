//! Reservations: units are set aside once for each order.

use reqwest::Method;
use serde_json::json;
use uuid::Uuid;

use crate::service::{Inventory, answer};

#[tokio::test]
async fn a_reservation_is_held_and_found_by_its_order() {
    let inventory = Inventory::start().await;
    inventory.put("a", 7).await.ok();
    inventory.claim(&[("a", 1)]).await.ok();
    let order = Uuid::now_v7();
    let held = inventory.reserve("redlock-fenced", order, &[("a", Some(1), 7)]).await;
    assert_eq!(held.status, 201);
    let held = held.ok();
    assert_eq!((held["status"].as_str(), held["lines"][0]["fencing_token"].as_i64()), (Some("held"), Some(1)));
    let path = format!("/v1/reservations/{}", held["reservation_id"].as_str().expect("an id"));
    assert_eq!(inventory.get(&path).await.ok(), held);
    assert_eq!(inventory.get(&format!("/v1/reservations?order_id={order}")).await.ok(), held);
}

#[tokio::test]
async fn a_write_that_arrives_twice_sells_once_and_gets_the_same_answer() {
    let inventory = Inventory::start().await;
    inventory.put("a", 7).await.ok();
    inventory.claim(&[("a", 1)]).await.ok();
    let order = Uuid::now_v7();
    let first = inventory.reserve("redlock-fenced", order, &[("a", Some(1), 7)]).await.ok();
    let second = inventory.reserve("redlock-fenced", order, &[("a", Some(1), 7)]).await.ok();
    assert_eq!((first, inventory.sold("a").await), (second, 1));
    inventory.claim(&[("a", 2)]).await.ok();
    inventory.reserve("redlock-fenced", order, &[("a", Some(2), 6)]).await.ok();
    assert_eq!(
        (inventory.sold("a").await, inventory.available("a").await),
        (1, 6),
        "a newer token does not sell again"
    );
}

#[tokio::test]
async fn an_unfenced_write_that_arrives_twice_sells_once_too() {
    let inventory = Inventory::start().await;
    inventory.put("a", 7).await.ok();
    let order = Uuid::now_v7();
    for _ in 0..2 {
        inventory.reserve("off", order, &[("a", None, 7)]).await.ok();
    }
    assert_eq!((inventory.sold("a").await, inventory.available("a").await), (1, 6));
}

#[tokio::test]
async fn a_different_request_with_the_same_order_id_is_a_conflict() {
    let inventory = Inventory::start().await;
    for sku in ["a", "b"] {
        inventory.put(sku, 7).await.ok();
    }
    let order = Uuid::now_v7();
    inventory.reserve("off", order, &[("a", None, 7)]).await.ok();
    inventory.reserve("off", order, &[("b", None, 7)]).await.is(409, "invalid_state");
    assert_eq!(inventory.available("b").await, 7);
}

#[tokio::test]
async fn several_lines_are_set_aside_all_or_none() {
    let inventory = Inventory::start().await;
    for sku in ["a", "b"] {
        inventory.put(sku, 1).await.ok();
    }
    inventory.reserve("off", Uuid::now_v7(), &[("a", None, 1), ("b", None, 0)]).await.is(409, "out_of_stock");
    assert_eq!((inventory.available("a").await, inventory.sold("a").await), (1, 0));
    inventory.reserve("off", Uuid::now_v7(), &[("a", None, 1), ("b", None, 1)]).await.ok();
    assert_eq!((inventory.available("a").await, inventory.available("b").await), (0, 0));
}

#[tokio::test]
async fn lines_of_one_sku_are_summed_before_they_are_checked() {
    let inventory = Inventory::start().await;
    inventory.put("a", 3).await.ok();
    let line = |quantity: i64| json!({ "sku": "a", "quantity": quantity, "observed_available": 3 });
    let body = |lines| json!({ "order_id": Uuid::now_v7(), "lines": lines, "hold_seconds": 60 });
    inventory.reserve_as("off", &body(json!([line(2), line(2)]))).await.is(409, "out_of_stock");
    let held = inventory.reserve_as("off", &body(json!([line(1), line(2)]))).await.ok();
    assert_eq!(held["lines"], json!([{ "sku": "a", "quantity": 3 }]));
}

#[tokio::test]
async fn a_write_completes_although_its_caller_disconnected() {
    let inventory = Inventory::start().await;
    inventory.put("a", 2).await.ok();
    // The locked row keeps the write waiting until its caller has disconnected.
    let mut row = inventory.sql().await;
    sqlx::raw_sql("begin; select * from stock where sku = 'a' for update").execute(&mut row).await.expect("the row");
    let line = json!({ "sku": "a", "quantity": 1, "observed_available": 2 });
    let body = json!({ "order_id": Uuid::now_v7(), "lines": [line], "hold_seconds": 60 });
    let write = inventory.call(Method::POST, "/v1/reservations").header("lock-strategy", "off").json(&body);
    let writing = tokio::spawn(answer(write));
    let blocked =
        "select count(*) from pg_stat_activity where wait_event_type = 'Lock' and datname = current_database()";
    while inventory.count(blocked).await == 0 {
        tokio::task::yield_now().await;
    }
    writing.abort();
    assert!(writing.await.is_err_and(|error| error.is_cancelled()), "the caller has disconnected");
    sqlx::raw_sql("commit").execute(&mut row).await.expect("the row is free");
    while inventory.count("select count(*) from reservations").await == 0 {
        tokio::task::yield_now().await;
    }
    assert_eq!(inventory.available("a").await, 1);
}
