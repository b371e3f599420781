//! What the laboratory may do to a replica: hold one write, and record the messages about a SKU. Refused elsewhere.

use reqwest::Method;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::service::{Inventory, answer};

#[tokio::test]
async fn the_labs_routes_are_404_while_it_is_off() {
    let inventory = Inventory::with(&[]).await;
    for path in ["/v1/lab/pauses", "/v1/lab/messages/tea"] {
        inventory.get(path).await.is(404, "not_found");
    }
    answer(inventory.call(Method::POST, "/v1/lab/pauses/resume")).await.is(404, "not_found");
    answer(inventory.call(Method::PUT, "/v1/lab/messages/tea")).await.is(404, "not_found");
}

#[tokio::test]
async fn a_held_write_waits_until_it_is_resumed_while_the_replica_serves_others() {
    let inventory = Inventory::start().await;
    inventory.put("tea", 1).await.ok();
    inventory.put("coffee", 1).await.ok();
    let armed = json!({ "sku": "milk", "or_skus": ["tea"], "hold_ms": 60_000 });
    let arm = inventory.call(Method::POST, "/v1/lab/pauses").json(&armed);
    answer(arm).await.ok();
    let reserve = async |sku| inventory.reserve("off", Uuid::now_v7(), &[(sku, None, 1)]).await;
    let others = async {
        while inventory.get("/v1/lab/pauses").await.ok()["parked"].as_array().is_none_or(Vec::is_empty) {}
        reserve("coffee").await.ok();
        assert_eq!(inventory.available("tea").await, 1, "the write has not been sent");
        answer(inventory.call(Method::POST, "/v1/lab/pauses/resume")).await.ok();
    };
    let (held, ()) = tokio::join!(reserve("tea"), others);
    held.ok();
    assert_eq!(inventory.available("tea").await, 0);
    let parked = inventory.get("/v1/lab/pauses").await.ok()["parked"].clone();
    assert_eq!(parked[0]["outcome"], "written");
}

#[tokio::test]
async fn a_held_write_goes_on_by_itself_after_its_time() {
    let inventory = Inventory::start().await;
    inventory.put("tea", 1).await.ok();
    let arm = |body: Value| answer(inventory.call(Method::POST, "/v1/lab/pauses").json(&body));
    arm(json!({ "sku": "tea", "hold_ms": 0 })).await.is(422, "validation_failed");
    arm(json!({ "sku": "tea", "hold_ms": 60_001 })).await.is(422, "validation_failed");
    arm(json!({ "sku": "tea", "hold_ms": 1 })).await.ok();
    inventory.reserve("off", Uuid::now_v7(), &[("tea", None, 1)]).await.ok();
    assert_eq!(inventory.available("tea").await, 0);
}

#[tokio::test]
async fn the_statements_about_a_recorded_sku_are_stored_with_the_row_before_and_after_and_no_others() {
    let inventory = Inventory::start().await;
    for sku in ["tea", "coffee"] {
        inventory.put(sku, 2).await.ok();
    }
    inventory.get("/v1/lab/messages/tea").await.is(404, "not_found");
    answer(inventory.call(Method::PUT, "/v1/lab/messages/tea")).await.ok();
    for (sku, token) in [("tea", 7), ("coffee", 7)] {
        inventory.claim(&[(sku, token)]).await.ok();
        inventory.reserve("redlock-fenced", Uuid::now_v7(), &[(sku, Some(token), 2)]).await.ok();
    }
    inventory.reserve("redlock-fenced", Uuid::now_v7(), &[("tea", Some(6), 1)]).await.is(409, "stale_fencing_token");
    let messages = inventory.get("/v1/lab/messages/tea").await.ok();
    let row = |message: &Value, when: &str| -> Value {
        let text = message[when].as_str().expect("a row");
        serde_json::from_str(text).expect("JSON")
    };
    let messages = messages.as_array().expect("messages");
    assert!(messages.iter().all(|message| !message["request"].as_str().expect("text").contains("coffee")));
    let [claim, write, .., refused] = messages.as_slice() else { panic!("{messages:?}") };
    assert_eq!((row(claim, "before")["fence"].clone(), row(claim, "after")["fence"].clone()), (json!(0), json!(7)));
    assert_eq!(
        (row(write, "before")["available"].clone(), row(write, "after")["available"].clone()),
        (json!(2), json!(1))
    );
    assert_eq!(row(refused, "before"), row(refused, "after"), "a refused write changes nothing");
    assert!(refused["reply"].as_str().is_some_and(|reply| reply.starts_with("refused")), "{refused}");
    answer(inventory.call(Method::DELETE, "/v1/lab/messages/tea")).await.ok();
    inventory.get("/v1/lab/messages/tea").await.is(404, "not_found");
}
