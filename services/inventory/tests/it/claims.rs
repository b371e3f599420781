//! Claims: tokens are registered before stock is read.

use reqwest::Method;
use serde_json::json;

use crate::service::{Inventory, answer};

#[tokio::test]
async fn a_claim_returns_the_stock_that_it_protects() {
    let inventory = Inventory::start().await;
    inventory.put("a", 7).await.ok();
    let claimed = inventory.claim(&[("a", 3)]).await.ok();
    let expected = json!([{ "sku": "a", "on_hand": 7, "available": 7, "fence": 3, "version": 0 }]);
    assert_eq!(claimed["snapshots"], expected);
}

#[tokio::test]
async fn two_holders_with_one_token_cannot_both_claim() {
    let inventory = Inventory::start().await;
    inventory.put("a", 7).await.ok();
    inventory.claim(&[("a", 3)]).await.ok();
    let second = inventory.claim(&[("a", 3)]).await;
    second.is(409, "stale_fencing_token");
    assert_eq!((second.body["token"].as_i64(), second.body["current"].as_i64()), (Some(3), Some(3)));
}

#[tokio::test]
async fn a_claim_of_several_is_all_or_none() {
    let inventory = Inventory::start().await;
    for sku in ["a", "b"] {
        inventory.put(sku, 7).await.ok();
    }
    inventory.claim(&[("b", 5)]).await.ok();
    inventory.claim(&[("a", 4), ("b", 4)]).await.is(409, "stale_fencing_token");
    assert_eq!(inventory.get("/v1/stock/a").await.ok()["fence"], 0, "no token of the claim was registered");
    inventory.claim(&[("a", 4), ("nowhere", 4)]).await.is(404, "not_found");
    assert_eq!(inventory.get("/v1/stock/a").await.ok()["fence"], 0);
}

#[tokio::test]
async fn claims_of_the_same_skus_in_opposite_order_do_not_deadlock() {
    let inventory = Inventory::start().await;
    for sku in ["a", "b"] {
        inventory.put(sku, 7).await.ok();
    }
    let (there, back) = ([("a", 1), ("b", 1)], [("b", 2), ("a", 2)]);
    for round in 0..20 {
        let up = |tokens: [(&'static str, i64); 2]| tokens.map(|(sku, token)| (sku, token + 2 * round));
        let (there, back) = (up(there), up(back));
        let (first, second) = tokio::join!(inventory.claim(&there), inventory.claim(&back));
        let (first, second) = (first.status.as_u16(), second.status.as_u16());
        assert!([200, 409].contains(&first) && second == 200, "{first} {second}");
    }
}

#[tokio::test]
async fn a_claim_under_a_strategy_without_claims_is_422() {
    let inventory = Inventory::start().await;
    inventory.put("a", 7).await.ok();
    let claim = inventory.call(Method::POST, "/v1/claims").header("lock-strategy", "redlock-write-fence");
    let lines = json!({ "lines": [{ "sku": "a", "fencing_token": 1 }] });
    answer(claim.json(&lines)).await.is(422, "validation_failed");
}
