//! Requests that are not acceptable: status and code, and nothing is stored.

use serde_json::{Value, json};

use crate::stack::{Reply, Setup, Stack, order_body};

async fn nothing_was_stored(stack: &Stack) {
    let keys: i64 =
        sqlx::query_scalar("select count(*) from idempotency_keys").fetch_one(&stack.orders).await.expect("a count");
    assert_eq!((keys, stack.reservations().await), (0, 0));
}

#[tokio::test]
async fn validation_failed_names_every_field() {
    let stack = Stack::start().await;
    let lines = [0, -1, 1_000_000_000].map(|quantity| json!({ "sku": "chair", "quantity": quantity }));
    let refused = Reply::of(stack.post("k").json(&json!({ "customer": "", "lines": lines }))).await;

    refused.is(422, "validation_failed");
    let pointers: Vec<_> = refused.body["errors"].as_array().expect("errors").iter().map(|e| &e["pointer"]).collect();
    assert_eq!(pointers, ["/customer", "/lines/0/quantity", "/lines/1/quantity", "/lines/2/quantity"]);
    let many = vec![json!({ "sku": "chair", "quantity": 1 }); 10_000];
    Reply::of(stack.post("k").json(&json!({ "customer": "ada", "lines": many }))).await.is(422, "validation_failed");
    let no_lines: Value = json!({ "customer": "ada" });
    Reply::of(stack.post("k").json(&no_lines)).await.is(422, "validation_failed");
    nothing_was_stored(&stack).await;
}

#[tokio::test]
async fn malformed_json_is_400() {
    let stack = Stack::start().await;
    let broken = stack.post("k").header("content-type", "application/json").body("{\"customer\":");
    Reply::of(broken).await.is(400, "malformed_json");
    nothing_was_stored(&stack).await;
}

#[tokio::test]
async fn unsupported_media_type_is_415() {
    let stack = Stack::start().await;
    let text = stack.post("k").header("content-type", "text/plain").body(order_body("chair", 1).to_string());
    Reply::of(text).await.is(415, "unsupported_media_type");
}

#[tokio::test]
async fn content_encoding_other_than_identity_is_415() {
    let stack = Stack::start().await;
    let plain = stack.post("k").header("content-encoding", "gzip").json(&order_body("chair", 1));
    Reply::of(plain).await.is(415, "unsupported_content_encoding");
    nothing_was_stored(&stack).await;
}

#[tokio::test]
async fn a_header_sent_twice_is_400_and_named() {
    let stack = Stack::start().await;
    for (name, [first, second]) in [
        ("Idempotency-Key", ["k", "l"]),
        ("Idempotency-Key", ["k", "k"]),
        ("Lock-Strategy", ["redlock-fenced", "optimistic"]),
    ] {
        let post = stack.http.post(format!("{}/v1/orders", stack.url)).json(&order_body("chair", 1));
        let post = if name == "Lock-Strategy" { post.header("idempotency-key", "k") } else { post };
        let refused = Reply::of(post.header(name, first).header(name, second)).await;
        refused.is(400, "header_repeated");
        assert_eq!(refused.body["header"], name);
    }
    nothing_was_stored(&stack).await;
}

#[tokio::test]
async fn an_idempotency_key_that_is_too_long_or_not_visible_ascii_is_422_and_named() {
    let stack = Stack::start().await;
    for key in ["a".repeat(256), "a\tb".to_owned(), "k\u{e9}".to_owned()] {
        let refused = Reply::of(stack.post(&key).json(&order_body("chair", 1))).await;
        refused.is(422, "validation_failed");
        assert_eq!(refused.body["errors"][0]["pointer"], "/headers/idempotency-key", "{key:?}");
    }
    nothing_was_stored(&stack).await;
}

#[tokio::test]
async fn body_too_large_is_413() {
    let stack = Stack::start().await;
    let large = json!({ "customer": "x".repeat(2 << 20), "lines": [] }).to_string();
    Reply::of(stack.post("k").header("content-type", "application/json").body(large)).await.is(413, "body_too_large");
}

#[tokio::test]
async fn not_found_is_404_for_orders_and_for_paths() {
    let stack = Stack::start().await;
    stack.get("/v1/orders/01890000-0000-7000-8000-000000000000").await.is(404, "not_found");
    stack.get("/v1/nothing").await.is(404, "not_found");
}

#[tokio::test]
async fn problems_carry_everything_a_client_needs() {
    let stack = Stack::start().await;
    let refused = Reply::of(stack.http.post(format!("{}/v1/orders", stack.url)).json(&order_body("chair", 1))).await;
    refused.is(400, "idempotency_key_missing");
    for member in ["type", "title", "status", "detail", "instance", "code", "retryable", "trace_id"] {
        assert!(!refused.body[member].is_null(), "{member} is missing in {}", refused.body);
    }
}

#[tokio::test]
async fn strategy_unknown_is_422() {
    let stack = Stack::start().await;
    stack.place_with("hope", "k", "chair", 1).await.is(422, "strategy_not_allowed");
    nothing_was_stored(&stack).await;
}

#[tokio::test]
async fn strategy_not_allowed_is_403_while_the_lab_is_off_and_safe_ones_may_be_named() {
    let stack = Stack::with(Setup { lab: false, ..Setup::default() }).await;
    stack.place_with("redlock", "k", "chair", 1).await.is(403, "strategy_not_allowed");
    nothing_was_stored(&stack).await;
    // Allowed by order; inventory then refuses the bearer token.
    let through = stack.place_with("redlock-fenced", "k", "chair", 1).await;
    assert_ne!(through.status, 403, "{}", through.body);
}

#[tokio::test]
async fn an_order_above_inventorys_limit_of_lines_is_422_with_the_limit_and_frees_its_key() {
    let flags = &["--reconcile-ms=3600000", "--max-lines=128"];
    let stack = Stack::with(Setup { flags, ..Setup::default() }).await;
    let lines: Vec<_> = (0..101).map(|number| json!({ "sku": format!("sku-{number}"), "quantity": 1 })).collect();

    for _ in 0..2 {
        let refused = Reply::of(stack.post("k").json(&json!({ "customer": "ada", "lines": lines }))).await;
        refused.is(422, "validation_failed");
        assert_eq!(refused.body["errors"][0]["detail"], "101 lines; at most 100 are allowed", "{}", refused.body);
    }
    assert_eq!(stack.reservations().await, 0);
}
