//! Every problem that a request can be answered with: its status and code, and that stock is unchanged.

use reqwest::{Method, header};
use serde_json::json;
use uuid::Uuid;

use crate::service::{Inventory, answer};

#[tokio::test]
async fn out_of_stock_is_409_with_the_available_units() {
    let inventory = Inventory::start().await;
    inventory.put("a", 0).await.ok();
    let refused = inventory.reserve("off", Uuid::now_v7(), &[("a", None, 0)]).await;
    refused.is(409, "out_of_stock");
    assert_eq!((refused.body["sku"].as_str(), refused.body["available"].as_i64()), (Some("a"), Some(0)));
}

#[tokio::test]
async fn stale_fencing_token_is_409_with_token_and_current() {
    let inventory = Inventory::start().await;
    inventory.put("a", 3).await.ok();
    inventory.claim(&[("a", 5)]).await.ok();
    let refused = inventory.reserve("redlock-fenced", Uuid::now_v7(), &[("a", Some(4), 3)]).await;
    refused.is(409, "stale_fencing_token");
    assert_eq!((refused.body["token"].as_i64(), refused.body["current"].as_i64()), (Some(4), Some(5)));
    assert_eq!(refused.body["retryable"], true);
}

#[tokio::test]
async fn token_source_mismatch_is_409() {
    let inventory = Inventory::start().await;
    inventory.put("a", 3).await.ok();
    inventory.run_sql("select stock_claim('a', 1, 'etcd')").await;
    inventory.claim(&[("a", 5)]).await.is(409, "token_source_mismatch");
    inventory.reserve("redlock-fenced", Uuid::now_v7(), &[("a", Some(5), 3)]).await.is(409, "token_source_mismatch");
}

#[tokio::test]
async fn lowering_stock_below_held_units_is_409() {
    let inventory = Inventory::start().await;
    inventory.put("a", 3).await.ok();
    inventory.reserve("off", Uuid::now_v7(), &[("a", None, 3)]).await.ok();
    let refused = inventory.put("a", 0).await;
    refused.is(409, "invalid_state");
    assert_eq!((refused.body["held"].as_i64(), inventory.available("a").await), (Some(1), 2));
}

#[tokio::test]
async fn not_found_is_404_for_skus_reservations_and_paths() {
    let inventory = Inventory::start().await;
    inventory.get("/v1/stock/nowhere").await.is(404, "not_found");
    inventory.get(&format!("/v1/reservations/{}", Uuid::now_v7())).await.is(404, "not_found");
    inventory.get("/v1/reservations/not-an-id").await.is(404, "not_found");
    inventory.get(&format!("/v1/reservations?order_id={}", Uuid::now_v7())).await.is(404, "not_found");
    inventory.get("/v2/stock").await.is(404, "not_found");
    inventory.reserve("off", Uuid::now_v7(), &[("nowhere", None, 3)]).await.is(404, "not_found");
}

#[tokio::test]
async fn unauthorized_is_401_without_the_token_or_with_another() {
    let inventory = Inventory::start().await;
    let path = "/v1/stock/a";
    answer(inventory.anonymous(Method::GET, path)).await.is(401, "unauthorized");
    answer(inventory.anonymous(Method::GET, path).bearer_auth("a-token-for-tesst")).await.is(401, "unauthorized");
}

#[tokio::test]
async fn malformed_json_is_400_and_another_media_type_415() {
    let inventory = Inventory::start().await;
    let put = || inventory.call(Method::PUT, "/v1/stock/a");
    let json = put().header(header::CONTENT_TYPE, "application/json");
    answer(json.body("{\"on_hand\": ")).await.is(400, "malformed_json");
    answer(put().body("{\"on_hand\": 1}")).await.is(415, "unsupported_media_type");
}

#[tokio::test]
async fn body_too_large_is_413() {
    let inventory = Inventory::with(&["--lab", "--max-body-bytes=1000"]).await;
    let lines: Vec<_> = (0..100).map(|n| json!({ "sku": format!("s{n}"), "fencing_token": 1 })).collect();
    let claim = inventory.call(Method::POST, "/v1/claims").json(&json!({ "lines": lines }));
    answer(claim).await.is(413, "body_too_large");
}

#[tokio::test]
async fn validation_failed_is_422_and_names_every_field() {
    let inventory = Inventory::start().await;
    let lines = json!([{ "sku": "a", "fencing_token": 0 }, { "sku": "no spaces", "fencing_token": 1_i64 << 53 }]);
    let refused = answer(inventory.call(Method::POST, "/v1/claims").json(&json!({ "lines": lines }))).await;
    refused.is(422, "validation_failed");
    let errors = refused.body["errors"].as_array().expect("errors");
    let mut named: Vec<_> = errors.iter().map(|error| error["pointer"].as_str().expect("a pointer")).collect();
    named.sort_unstable();
    assert_eq!(named, ["/lines/0/fencing_token", "/lines/1/fencing_token", "/lines/1/sku"]);
}

#[tokio::test]
async fn quantities_out_of_range_are_422() {
    let inventory = Inventory::start().await;
    inventory.put("a", 3).await.ok();
    for quantity in [0, -1, 1_000_001] {
        let line = json!({ "sku": "a", "quantity": quantity, "observed_available": 3 });
        let body = json!({ "order_id": Uuid::now_v7(), "lines": [line], "hold_seconds": 60 });
        inventory.reserve_as("off", &body).await.is(422, "validation_failed");
    }
    assert_eq!(inventory.available("a").await, 3);
}

#[tokio::test]
async fn a_token_is_required_with_a_fence_and_refused_without() {
    let inventory = Inventory::start().await;
    inventory.put("a", 3).await.ok();
    inventory.reserve("redlock-fenced", Uuid::now_v7(), &[("a", None, 3)]).await.is(422, "validation_failed");
    inventory.reserve("redlock", Uuid::now_v7(), &[("a", Some(1), 3)]).await.is(422, "validation_failed");
}

#[tokio::test]
async fn too_many_lines_are_422() {
    let inventory = Inventory::start().await;
    let tokens: Vec<_> = (0..101).map(|n| json!({ "sku": format!("s{n}"), "fencing_token": 1 })).collect();
    let claim = inventory.call(Method::POST, "/v1/claims").json(&json!({ "lines": tokens }));
    answer(claim).await.is(422, "validation_failed");
}

#[tokio::test]
async fn an_unknown_strategy_is_422_and_an_unsafe_one_403_while_the_lab_is_off() {
    let inventory = Inventory::with(&[]).await;
    inventory.put("a", 3).await.ok();
    let reserve = async |strategy| inventory.reserve(strategy, Uuid::now_v7(), &[("a", None, 3)]).await;
    reserve("hope").await.is(422, "strategy_not_allowed");
    for unsafe_one in ["off", "redis", "redlock", "redlock-write-fence", "postgres-advisory"] {
        reserve(unsafe_one).await.is(403, "strategy_not_allowed");
    }
    assert_eq!(inventory.available("a").await, 3);
}

#[tokio::test]
async fn dependency_unavailable_is_503_while_postgres_does_not_answer() {
    let inventory = Inventory::with(&["--lab", "--pool=1"]).await;
    inventory.put("a", 3).await.ok();
    let mut row = inventory.sql().await;
    sqlx::raw_sql("begin; lock table stock").execute(&mut row).await.expect("the table");
    let (first, second) = tokio::join!(inventory.get("/v1/stock/a"), inventory.get("/v1/stock/a"));
    for refused in [first, second] {
        refused.is(503, "dependency_unavailable");
    }
    sqlx::raw_sql("commit").execute(&mut row).await.expect("the table is free");
    assert_eq!(inventory.available("a").await, 3, "the service recovers without a restart");
}

#[tokio::test]
async fn overloaded_is_429_with_retry_after_until_a_request_ends() {
    let inventory = Inventory::with(&["--lab", "--max-concurrency=1"]).await;
    inventory.put("a", 3).await.ok();
    let mut row = inventory.sql().await;
    sqlx::raw_sql("begin; lock table stock").execute(&mut row).await.expect("the table");
    let working = inventory.get("/v1/stock/a");
    let meanwhile = async {
        let blocked = "select count(*) from pg_stat_activity where wait_event_type = 'Lock'
                          and datname = current_database() and usename = 'inventory_service'";
        while inventory.count(blocked).await == 0 {
            tokio::task::yield_now().await;
        }
        let refused = inventory.get("/v1/stock/a").await;
        sqlx::raw_sql("commit").execute(&mut row).await.expect("the table is free");
        refused
    };
    let (worked, refused) = tokio::join!(working, meanwhile);
    refused.is(429, "overloaded");
    assert_eq!((refused.body["retryable"].as_bool(), refused.retry_after.as_str()), (Some(true), "1"));
    worked.ok();
    assert_eq!(inventory.available("a").await, 3);
}

#[tokio::test]
async fn a_sku_whose_row_somebody_keeps_locked_leaves_connections_for_other_skus_and_its_requests_are_429() {
    const AT_ONCE: i64 = 16;
    let inventory = Inventory::with(&["--lab", "--pool=4"]).await;
    for sku in ["a", "other"] {
        inventory.put(sku, 3).await.ok();
    }
    let mut row = inventory.sql().await;
    sqlx::raw_sql("begin; select from stock where sku = 'a' for update").execute(&mut row).await.expect("the row");
    let claims =
        futures_util::future::join_all((1..=AT_ONCE).map(async |token| inventory.claim(&[("a", token)]).await));
    let meanwhile = async {
        let blocked = "select count(*) from pg_stat_activity where wait_event_type = 'Lock'
                          and datname = current_database() and usename = 'inventory_service'";
        inventory.until(blocked, 1).await;
        for token in 1..=AT_ONCE {
            inventory.claim(&[("other", token)]).await.ok();
            assert!(inventory.count(blocked).await <= 1, "one connection of four may wait for the row");
        }
    };
    let (claimed, ()) = tokio::join!(claims, meanwhile);

    let (busy, waited): (Vec<_>, Vec<_>) = claimed.iter().partition(|claimed| claimed.status == 429);
    assert_eq!((busy.len(), waited.len()), (15, 1), "one waited for the row until its statement ended");
    waited[0].is(503, "dependency_unavailable");
    busy[0].is(429, "overloaded");
    assert_eq!((busy[0].body["sku"].as_str(), busy[0].retry_after.as_str()), (Some("a"), "1"));
    sqlx::raw_sql("commit").execute(&mut row).await.expect("the row is free");
    inventory.claim(&[("a", AT_ONCE)]).await.ok();
}
