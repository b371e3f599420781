//! Stock: set, read, and listed a page at a time.

use crate::service::Inventory;

#[tokio::test]
async fn stock_is_created_and_set_again() {
    let inventory = Inventory::start().await;
    let created = inventory.put("a", 7).await.ok();
    assert_eq!((created["on_hand"].as_i64(), created["available"].as_i64()), (Some(7), Some(7)));
    inventory.reserve("off", uuid::Uuid::now_v7(), &[("a", None, 7)]).await.ok();
    let restocked = inventory.put("a", 10).await.ok();
    assert_eq!((restocked["on_hand"].as_i64(), restocked["available"].as_i64()), (Some(10), Some(9)));
}

#[tokio::test]
async fn new_stock_accepts_the_lowest_token() {
    let inventory = Inventory::start().await;
    inventory.put("a", 7).await.ok();
    inventory.claim(&[("a", 1)]).await.ok();
}

#[tokio::test]
async fn stock_is_listed_a_page_at_a_time() {
    let inventory = Inventory::start().await;
    for sku in ["c", "a", "b"] {
        inventory.put(sku, 1).await.ok();
    }
    let first = inventory.get("/v1/stock?limit=2").await.ok();
    let skus = |page: &serde_json::Value| {
        let stock = page["stock"].as_array().expect("a list").iter();
        stock.map(|s| s["sku"].as_str().expect("a name").to_owned()).collect::<Vec<_>>()
    };
    assert_eq!((skus(&first), first["next_after"].as_str()), (vec!["a".to_owned(), "b".to_owned()], Some("b")));
    let second = inventory.get("/v1/stock?limit=2&after=b").await.ok();
    assert_eq!((skus(&second), second["next_after"].as_str()), (vec!["c".to_owned()], None));
}
