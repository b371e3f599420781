//! Batches: orders that share a grant of locks, written in one transaction, each with its own result.

use reqwest::Method;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::service::{Answer, Inventory, answer};

/// A batch with one line of `sku` for each order.
fn batch(sku: &str, token: i64, observed: i64, orders: &[(Uuid, i64)]) -> Value {
    let order =
        |(id, quantity): &(Uuid, i64)| json!({ "order_id": id, "lines": [{ "sku": sku, "quantity": quantity }] });
    json!({
        "stock": [{ "sku": sku, "fencing_token": token, "observed_available": observed }],
        "orders": orders.iter().map(order).collect::<Vec<_>>(),
        "hold_seconds": 900,
    })
}

async fn write(inventory: &Inventory, body: &Value) -> Answer {
    let call = inventory.call(Method::POST, "/v1/reservations/batch").header("lock-strategy", "redlock-fenced");
    answer(call.json(body)).await
}

fn orders(quantities: &[i64]) -> Vec<(Uuid, i64)> {
    quantities.iter().map(|quantity| (Uuid::now_v7(), *quantity)).collect()
}

#[tokio::test]
async fn each_order_of_a_batch_has_its_own_result_and_the_ledger_chains() {
    let inventory = Inventory::start().await;
    inventory.put("a", 5).await.ok();
    inventory.claim(&[("a", 1)]).await.ok();
    let orders = orders(&[2, 9, 3, 1]);

    let ends = write(&inventory, &batch("a", 1, 5, &orders)).await.ok();

    let held: Vec<_> = (0..4).map(|at| ends["outcomes"][at]["reservation"]["status"] == "held").collect();
    assert_eq!(held, [true, false, true, false], "{ends}");
    let refused = &ends["outcomes"][1]["problem"];
    assert_eq!((&refused["code"], &refused["available"]), (&json!("out_of_stock"), &json!(3)));
    assert_eq!((inventory.available("a").await, inventory.sold("a").await), (0, 5));
    let chain: Vec<(i64, i64, Option<i64>)> =
        sqlx::query_as("select before, after, fence from stock_ledger where kind = 'reserve' order by seq")
            .fetch_all(&mut inventory.sql().await)
            .await
            .expect("rows");
    assert_eq!(chain, [(5, 3, Some(1)), (3, 0, Some(1))]);
    let found = inventory.get(&format!("/v1/reservations?order_id={}", orders[0].0)).await.ok();
    assert_eq!(found, ends["outcomes"][0]["reservation"]);
}

#[tokio::test]
async fn a_batch_that_arrives_twice_sells_once_and_gets_the_same_answer() {
    let inventory = Inventory::start().await;
    inventory.put("a", 5).await.ok();
    inventory.claim(&[("a", 1)]).await.ok();
    let body = batch("a", 1, 5, &orders(&[1, 2]));

    let first = write(&inventory, &body).await.ok();
    let second = write(&inventory, &body).await.ok();

    assert_eq!((first, inventory.sold("a").await), (second, 3));
}

#[tokio::test]
async fn an_order_with_a_reservation_is_found_and_the_others_are_written() {
    let inventory = Inventory::start().await;
    inventory.put("a", 5).await.ok();
    inventory.claim(&[("a", 1)]).await.ok();
    let orders = orders(&[1, 2, 2]);
    let earlier = inventory.reserve("redlock-fenced", orders[0].0, &[("a", Some(1), 5)]).await.ok();
    inventory.claim(&[("a", 2)]).await.ok();

    let ends = write(&inventory, &batch("a", 2, 4, &orders)).await.ok();

    assert_eq!(ends["outcomes"][0]["reservation"], earlier);
    assert_eq!((inventory.available("a").await, inventory.sold("a").await), (0, 5));
    inventory.claim(&[("a", 3)]).await.ok();
    let otherwise = write(&inventory, &batch("a", 3, 0, &[(orders[1].0, 1), (orders[2].0, 2)])).await.ok();
    assert_eq!(otherwise["outcomes"][0]["problem"]["code"], "invalid_state", "the same order id, different lines");
    assert_eq!(otherwise["outcomes"][1]["reservation"]["status"], "held");
    assert_eq!(inventory.sold("a").await, 5);
}

#[tokio::test]
async fn a_batch_with_a_stale_token_is_refused_whole_and_every_refusal_is_recorded() {
    let inventory = Inventory::start().await;
    inventory.put("a", 5).await.ok();
    inventory.claim(&[("a", 1)]).await.ok();
    inventory.claim(&[("a", 2)]).await.ok();

    write(&inventory, &batch("a", 1, 5, &orders(&[1, 1]))).await.is(409, "stale_fencing_token");

    assert_eq!((inventory.available("a").await, inventory.sold("a").await), (5, 0));
    assert_eq!(inventory.count("select count(*) from fence_refusals where step = 'write'").await, 2);
}

#[tokio::test]
async fn a_wrong_field_of_a_batch_is_named() {
    let inventory = Inventory::start().await;
    inventory.put("a", 5).await.ok();
    let order = orders(&[1])[0];
    let twice = batch("a", 1, 5, &[order, order]);
    let mut elsewhere = batch("a", 1, 5, &[order]);
    elsewhere["stock"][0]["sku"] = json!("b");
    for (wrong, pointer) in [(twice, "/orders/1/order_id"), (elsewhere, "/orders/0/lines/0/sku")] {
        let refused = write(&inventory, &wrong).await;
        refused.is(422, "validation_failed");
        assert_eq!(refused.body["errors"][0]["pointer"], pointer);
    }
    let unfenced = inventory.call(Method::POST, "/v1/reservations/batch").header("lock-strategy", "redlock");
    answer(unfenced.json(&batch("a", 1, 5, &[order]))).await.is(422, "validation_failed");
    assert_eq!(inventory.sold("a").await, 0);
}
