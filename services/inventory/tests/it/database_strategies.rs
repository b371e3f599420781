//! The strategies that let the database decide, those with tokens of other sources, and mixtures of strategies on one
//! SKU: each is safe alone, and they are safe together because each increments the fence.

use serde_json::{Value, json};
use uuid::Uuid;

use crate::service::{Answer, Inventory};

const DATABASE_STRATEGIES: [&str; 3] = ["atomic", "row-lock", "optimistic"];

async fn take(inventory: &Inventory, strategy: &str, quantity: i64, version: i64) -> Answer {
    let mut line = json!({ "sku": "few", "quantity": quantity });
    if strategy == "optimistic" {
        line["observed_version"] = json!(version);
    }
    let body = json!({ "order_id": Uuid::now_v7(), "lines": [line], "hold_seconds": 60 });
    inventory.reserve_as(strategy, &body).await
}

async fn version(inventory: &Inventory) -> i64 {
    inventory.get("/v1/stock/few").await.ok()["version"].as_i64().expect("a version")
}

#[tokio::test]
async fn database_strategies_sell_all_units_and_no_more_with_the_lab_off() {
    for strategy in DATABASE_STRATEGIES {
        let inventory = Inventory::with(&[]).await;
        inventory.put("few", 3).await.ok();
        take(&inventory, strategy, 2, 0).await.ok();
        let short = take(&inventory, strategy, 2, 1).await;
        short.is(409, "out_of_stock");
        assert_eq!(short.body["available"], 1, "{strategy}");
        take(&inventory, strategy, 1, 1).await.ok();
        assert_eq!((inventory.available("few").await, inventory.sold("few").await), (0, 3), "{strategy}");
        let ledger = inventory.ledger("few").await;
        assert_eq!(ledger, [("put".into(), 3), ("reserve".into(), -2), ("reserve".into(), -1)], "{strategy}");
    }
}

#[tokio::test]
async fn concurrent_requests_do_not_oversell() {
    for strategy in ["atomic", "row-lock"] {
        let inventory = Inventory::start().await;
        inventory.put("few", 5).await.ok();
        let takes = (0..16).map(|_| take(&inventory, strategy, 1, 0));
        let mut sold = 0;
        for answer in futures_util::future::join_all(takes).await {
            match answer.status.as_u16() {
                201 => sold += 1,
                _ => answer.is(409, "out_of_stock"),
            }
        }
        assert_eq!((sold, inventory.sold("few").await, inventory.available("few").await), (5, 5, 0), "{strategy}");
    }
}

#[tokio::test]
async fn stale_version_is_409_with_observed_and_current_and_a_retry_succeeds() {
    let inventory = Inventory::start().await;
    inventory.put("few", 3).await.ok();
    take(&inventory, "optimistic", 1, 0).await.ok();
    let refused = take(&inventory, "optimistic", 1, 0).await;
    refused.is(409, "stale_version");
    assert_eq!((refused.body["observed"].as_i64(), refused.body["current"].as_i64()), (Some(0), Some(1)));
    assert_eq!(refused.body["retryable"], true);
    let now = version(&inventory).await;
    take(&inventory, "optimistic", 1, now).await.ok();
    assert_eq!(inventory.sold("few").await, 2);
}

#[tokio::test]
async fn a_database_strategys_write_refuses_an_earlier_claim() {
    for strategy in DATABASE_STRATEGIES {
        let inventory = Inventory::start().await;
        inventory.put("few", 2).await.ok();
        inventory.claim(&[("few", 9)]).await.ok();
        take(&inventory, strategy, 1, 0).await.ok();
        let late = inventory.reserve("redlock-fenced", Uuid::now_v7(), &[("few", Some(9), 2)]).await;
        late.is(409, "stale_fencing_token");
        assert_eq!((inventory.available("few").await, inventory.sold("few").await), (1, 1), "{strategy}");
    }
}

#[tokio::test]
async fn without_the_fence_increment_two_strategies_that_are_safe_alone_oversell_together() {
    let inventory = Inventory::start().await;
    inventory
        .run_sql(
            "create or replace function stock_take(p_sku text, p_units bigint, p_lock boolean, out after bigint,
                                                   out new_fence bigint) language plpgsql as $$
             begin
                 update stock s set available = s.available - p_units, version = s.version + 1
                  where s.sku = p_sku and s.available >= p_units returning s.available, s.fence into after, new_fence;
             end $$",
        )
        .await;
    inventory.put("few", 2).await.ok();
    inventory.claim(&[("few", 9)]).await.ok();
    take(&inventory, "atomic", 1, 0).await.ok();
    inventory.reserve("redlock-fenced", Uuid::now_v7(), &[("few", Some(9), 2)]).await.ok();
    assert_eq!(
        (inventory.available("few").await, inventory.sold("few").await),
        (1, 2),
        "two units sold, one taken from stock"
    );
}

#[tokio::test]
async fn an_optimistic_write_is_refused_after_a_fenced_write_and_not_after_a_claim_alone() {
    let inventory = Inventory::start().await;
    inventory.put("few", 3).await.ok();
    inventory.claim(&[("few", 9)]).await.ok();
    let seen = version(&inventory).await;
    inventory.reserve("redlock-fenced", Uuid::now_v7(), &[("few", Some(9), 3)]).await.ok();
    take(&inventory, "optimistic", 1, seen).await.is(409, "stale_version");
    inventory.claim(&[("few", 10)]).await.ok();
    take(&inventory, "optimistic", 1, seen + 1).await.ok();
    assert_eq!((inventory.available("few").await, inventory.sold("few").await), (1, 2));
}

#[tokio::test]
async fn tokens_of_etcd_and_zookeeper_claim_and_write_once_like_those_of_redlock() {
    for strategy in ["etcd-fenced", "zookeeper-fenced"] {
        let inventory = Inventory::with(&[]).await;
        inventory.put("few", 2).await.ok();
        let claim = async |token: i64| -> Value {
            let claim = inventory.call(reqwest::Method::POST, "/v1/claims").header("lock-strategy", strategy);
            let lines = json!({ "lines": [{ "sku": "few", "fencing_token": token }] });
            crate::service::answer(claim.json(&lines)).await.ok()
        };
        claim(70).await;
        claim(71).await;
        let reserve = async |token| inventory.reserve(strategy, Uuid::now_v7(), &[("few", Some(token), 2)]).await;
        reserve(70).await.is(409, "stale_fencing_token");
        reserve(71).await.ok();
        reserve(71).await.is(409, "stale_fencing_token");
        inventory.claim(&[("few", 99)]).await.is(409, "token_source_mismatch");
        assert_eq!((inventory.available("few").await, inventory.sold("few").await), (1, 1), "{strategy}");
    }
}

#[tokio::test]
async fn postgres_advisory_has_no_check_and_oversells_without_its_lock() {
    let inventory = Inventory::start().await;
    inventory.put("few", 1).await.ok();
    for _ in 0..2 {
        inventory.reserve("postgres-advisory", Uuid::now_v7(), &[("few", None, 1)]).await.ok();
    }
    assert_eq!(inventory.sold("few").await, 2, "of one unit");
}

#[tokio::test]
async fn a_database_strategys_write_that_arrives_twice_sells_once_and_gets_the_same_answer() {
    for strategy in DATABASE_STRATEGIES {
        let inventory = Inventory::start().await;
        inventory.put("few", 1).await.ok();
        let line = json!({ "sku": "few", "quantity": 1, "observed_version": 0 });
        let body = json!({ "order_id": Uuid::now_v7(), "lines": [line], "hold_seconds": 60 });
        let first = inventory.reserve_as(strategy, &body).await.ok();
        let second = inventory.reserve_as(strategy, &body).await.ok();
        assert_eq!((first, inventory.sold("few").await, inventory.available("few").await), (second, 1, 0));
    }
}

#[tokio::test]
async fn a_field_that_the_strategy_requires_is_named() {
    let inventory = Inventory::start().await;
    inventory.put("few", 1).await.ok();
    let line = json!({ "sku": "few", "quantity": 1 });
    let body = json!({ "order_id": Uuid::now_v7(), "lines": [line], "hold_seconds": 60 });
    for (strategy, field) in [("optimistic", "observed_version"), ("off", "observed_available")] {
        let refused = inventory.reserve_as(strategy, &body).await;
        refused.is(422, "validation_failed");
        assert_eq!(refused.body["errors"][0]["pointer"], format!("/lines/0/{field}"));
    }
    for strategy in DATABASE_STRATEGIES {
        let with_token = [("few", Some(1), 1)];
        inventory.reserve(strategy, Uuid::now_v7(), &with_token).await.is(422, "validation_failed");
    }
}
