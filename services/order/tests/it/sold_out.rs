//! "Sold out" by one read of the stock: what it writes, whom it may refuse, and that it ends with the next restock.

use futures_util::future::join_all;

use crate::stack::{Reply, Stack};

/// One unit, sold under the key "first"; "second" was refused in the usual way, so the SKU is known to be short.
async fn sold_out() -> (Stack, Reply, Reply) {
    let stack = Stack::start().await;
    stack.put_stock("chair", 1).await;
    let first = stack.place("first", "chair", 1).await;
    assert_eq!(first.status, 201, "{}", first.body);
    let second = stack.place("second", "chair", 1).await;
    second.is(409, "out_of_stock");
    (stack, first, second)
}

async fn orders(stack: &Stack) -> i64 {
    sqlx::query_scalar("select count(*) from orders").fetch_one(&stack.orders).await.expect("a count")
}

/// How often inventory answered a read of the stock of several SKUs.
async fn shared_reads(stack: &Stack) -> u64 {
    let metrics = stack.http.get(format!("{}/metrics", stack.inventories[0].url)).send().await.expect("metrics");
    let metrics = metrics.text().await.expect("text");
    let series = r#"http_requests_total{method="GET",route="/v1/stock",status="200"} "#;
    let line = metrics.lines().find_map(|line| line.strip_prefix(series));
    line.map_or(0, |count| count.parse().expect("a number"))
}

#[tokio::test]
async fn an_order_for_a_sku_that_is_sold_out_is_refused_by_a_read_and_writes_nothing() {
    let (stack, ..) = sold_out().await;
    let before = (orders(&stack).await, stack.fence("chair").await, stack.payments().await);

    let refused = stack.place("third", "chair", 1).await;

    refused.is(409, "out_of_stock");
    assert_eq!((refused.body["sku"].as_str(), refused.body["available"].as_i64()), (Some("chair"), Some(0)));
    let after = (orders(&stack).await, stack.fence("chair").await, stack.payments().await);
    assert_eq!(before, after, "no order, no claim, no payment");
}

#[tokio::test]
async fn a_known_key_is_answered_as_before_though_its_sku_is_sold_out() {
    let (stack, first, second) = sold_out().await;

    for (key, answer) in [("first", first), ("second", second)] {
        let again = stack.place(key, "chair", 1).await;
        assert_eq!((again.status, &again.bytes), (answer.status, &answer.bytes), "{key}");
        assert_eq!(again.header("idempotent-replayed"), "true", "{key}");
    }
}

#[tokio::test]
async fn after_a_restock_the_next_order_is_sold_under_a_key_that_was_refused_or_a_new_one() {
    let (stack, ..) = sold_out().await;
    stack.place("third", "chair", 1).await.is(409, "out_of_stock");

    stack.put_stock("chair", 3).await;

    for key in ["third", "fourth"] {
        let placed = stack.place(key, "chair", 1).await;
        assert_eq!(placed.status, 201, "{key}: {}", placed.body);
    }
    stack.place("fifth", "chair", 1).await.is(409, "out_of_stock");
    assert_eq!((stack.available("chair").await, stack.reservations().await), (0, 3));
}

#[tokio::test]
async fn orders_that_arrive_while_a_read_is_under_way_share_the_next_one() {
    const ORDERS: usize = 64;
    let (stack, ..) = sold_out().await;
    // A read takes so long that all the others arrive meanwhile.
    stack.inventory_line.set_latency(std::time::Duration::from_millis(100));
    let before = shared_reads(&stack).await;

    let keys: Vec<_> = (0..ORDERS).map(|number| format!("k{number}")).collect();
    let refused = join_all(keys.iter().map(|key| stack.place(key, "chair", 1))).await;

    for refused in &refused {
        refused.is(409, "out_of_stock");
    }
    let reads = shared_reads(&stack).await - before;
    assert!((1..=ORDERS as u64 / 4).contains(&reads), "{reads} reads for {ORDERS} orders");
}

#[tokio::test]
async fn an_order_of_several_lines_names_the_one_that_is_short_and_other_skus_are_sold() {
    let (stack, ..) = sold_out().await;
    stack.put_stock("table", 5).await;
    let body = |skus: [&str; 2]| {
        let lines: Vec<_> = skus.iter().map(|sku| serde_json::json!({ "sku": sku, "quantity": 1 })).collect();
        serde_json::json!({ "customer": "ada", "lines": lines })
    };

    let refused = Reply::of(stack.post("both").json(&body(["table", "chair"]))).await;

    refused.is(409, "out_of_stock");
    assert_eq!(refused.body["sku"], "chair");
    assert_eq!(stack.place("table", "table", 1).await.status, 201);
    assert_eq!(stack.available("table").await, 4);
}

#[tokio::test]
async fn while_the_stock_cannot_be_read_an_order_goes_the_usual_way() {
    let (stack, ..) = sold_out().await;
    stack.inventory_line.cut();
    stack.place("third", "chair", 1).await.is(503, "dependency_unavailable").asks_to_retry();
    stack.inventory_line.heal();
    stack.place("third", "chair", 1).await.is(409, "out_of_stock");
}
