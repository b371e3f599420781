//! A bad request gets its status and its code, changes no row, and ends no
//! process: afterwards the databases are consistent and the next order succeeds.
//! This file has requests to order; `guards` has requests to inventory. Only
//! refusals: requests that must succeed are tested in each service.

mod guards;
mod refusal;
mod stack;

use reqwest::Method;
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};
use uuid::Uuid;

use self::{
    refusal::{problem, refusal},
    stack::{Lab, Stack, order},
};

#[tokio::test]
async fn an_invalid_order_is_refused() {
    let stack = Stack::start(Lab::On).await;
    stack.put_stock("chair", 5).await;
    let quantity = |quantity: Value| order(&[("chair", quantity)]).to_string();
    let lines = vec![("chair", json!(1)); 10_000];
    let cases: [(&str, String, u16, &str); 16] = [
        ("quantity 0", quantity(json!(0)), 422, "/lines/0/quantity"),
        ("quantity -1", quantity(json!(-1)), 422, "/lines/0/quantity"),
        ("quantity 10^9", quantity(json!(1_000_000_000)), 422, "/lines/0/quantity"),
        ("quantity 2^64", quantity(json!(u64::MAX)), 422, "/lines/0/quantity"),
        ("quantity 1.5", quantity(json!(1.5)), 422, "/lines/0/quantity"),
        ("quantity as text", quantity(json!("1")), 422, "/lines/0/quantity"),
        ("no quantity", quantity(Value::Null), 422, "/lines/0/quantity"),
        ("10,000 lines", order(&lines).to_string(), 422, "/lines"),
        ("no lines", order(&[]).to_string(), 422, "/lines"),
        ("an impossible SKU", order(&[("a b", json!(1))]).to_string(), 422, "/lines/0/sku"),
        ("a SKU with a NUL", order(&[("a\0", json!(1))]).to_string(), 422, "/lines/0/sku"),
        (
            "a customer with a NUL",
            json!({"customer": "\0", "lines": [{"sku": "chair", "quantity": 1}]}).to_string(),
            422,
            "/customer",
        ),
        ("no customer", json!({"lines": [{"sku": "chair", "quantity": 1}]}).to_string(), 422, "/customer"),
        ("an unknown member", json!({"customer": "ada", "lines": [], "price": 0}).to_string(), 422, "/price"),
        ("half a body", "{\"customer\": \"ada\", \"lines\": [".to_owned(), 400, ""),
        ("an empty body", String::new(), 400, ""),
    ];
    for (what, body, status, pointer) in cases {
        let refused = stack.place("k").body(body);
        let code = if status == 400 { "malformed_json" } else { "validation_failed" };
        let problem = refusal(what, refused, status, code).await;
        if status == 422 {
            assert_eq!(problem["errors"][0]["pointer"], pointer, "{what}: {problem}");
        }
    }
    stack.is_unchanged(5).await;
}

#[tokio::test]
async fn a_body_of_the_wrong_type_encoding_or_size_is_refused() {
    let stack = Stack::start(Lab::On).await;
    stack.put_stock("chair", 5).await;
    let good = order(&[("chair", json!(1))]).to_string();
    for media_type in ["text/plain", "application/x-www-form-urlencoded", "application/xml"] {
        let post = stack.http.post(stack.orders()).header("idempotency-key", "k");
        let post = post.header("content-type", media_type).body(good.clone());
        refusal(media_type, post, 415, "unsupported_media_type").await;
    }
    let not_utf8 = b"{\"customer\": \"\xff\", \"lines\": []}".to_vec();
    refusal("not UTF-8", stack.place("k").body(not_utf8), 400, "malformed_json").await;
    let deep = "[".repeat(500_000);
    let deep = format!(r#"{{"customer": "ada", "lines": {deep}"#);
    let refused = stack.place("k").body(deep).send().await.expect("a reply");
    assert!(refused.status().is_client_error(), "{}", refused.status());

    let large = "x".repeat(10 << 20);
    refusal("10 MB", stack.place("k").body(large.clone()), 413, "body_too_large").await;
    let put = stack.inventory(Method::PUT, "/v1/stock/chair").body(large);
    refusal("10 MB of stock", put, 413, "body_too_large").await;
    stack.is_unchanged(5).await;
}

#[tokio::test]
async fn an_unknown_resource_is_not_found() {
    let stack = Stack::start(Lab::On).await;
    stack.put_stock("chair", 5).await;
    let unknown = order(&[("chair", json!(1)), ("nothing", json!(1))]);
    for strategy in ["off", "redlock-fenced"] {
        let post = stack.place(strategy).header("lock-strategy", strategy);
        refusal("an unknown SKU", post.json(&unknown), 404, "not_found").await;
    }
    let unknown_id = Uuid::nil();
    let get = |url: String| stack.http.get(url);
    let order = &stack.order.url;
    for path in [
        format!("/v1/orders/{unknown_id}"),
        "/v1/orders/7".to_owned(),
        "/v1/orders/".to_owned(),
        "/v2/orders".to_owned(),
        "/v1".to_owned(),
        "/v1/orders/../../etc/passwd".to_owned(),
        "/v1/orders/%00".to_owned(),
        "/v1/orders/%ff".to_owned(),
    ] {
        refusal(&path, get(format!("{order}{path}")), 404, "not_found").await;
    }
    for end in ["confirm", "cancel"] {
        let post = stack.http.post(format!("{order}/v1/orders/{unknown_id}/{end}"));
        refusal(end, post, 404, "not_found").await;
        let reservation = format!("/v1/reservations/{unknown_id}/{end}");
        let post = stack.inventory(Method::POST, &reservation);
        refusal(&reservation, post, 404, "not_found").await;
    }
    for path in ["/v1/stock/nothing", "/v1/stock/a%20b", "/v1/stock/%00", "/v1/nothing"] {
        refusal(path, stack.inventory(Method::GET, path), 404, "not_found").await;
    }
    stack.is_unchanged(5).await;
}

#[tokio::test]
async fn a_wrong_method_is_answered_with_the_allowed_ones() {
    let stack = Stack::start(Lab::On).await;
    stack.put_stock("chair", 5).await;
    let order = &stack.order.url;
    let wrong = [
        (stack.http.get(stack.orders()), "POST"),
        (stack.http.delete(stack.orders()), "POST"),
        (stack.http.put(format!("{order}/v1/orders/{}", Uuid::nil())), "GET,HEAD"),
        (stack.http.get(format!("{order}/v1/orders/{}/confirm", Uuid::nil())), "POST"),
        (stack.http.post(format!("{order}/readyz")), "GET,HEAD"),
        (stack.inventory(Method::DELETE, "/v1/stock/chair"), "PUT,GET,HEAD"),
        (stack.inventory(Method::GET, "/v1/claims"), "POST"),
    ];
    for (request, allowed) in wrong {
        let response = request.send().await.expect("a reply");
        let allow = response.headers().get("allow").cloned();
        let what = response.url().to_string();
        problem(&what, response, 405, "method_not_allowed").await;
        assert_eq!(allow.as_ref().and_then(|value| value.to_str().ok()), Some(allowed), "{what}");
    }
    stack.is_unchanged(5).await;
}

#[tokio::test]
async fn an_idempotency_key_belongs_to_one_order() {
    let stack = Stack::start(Lab::On).await;
    stack.put_stock("chair", 5).await;
    let one = order(&[("chair", json!(1))]);
    let bare = stack.http.post(stack.orders()).json(&one);
    refusal("no key", bare, 400, "idempotency_key_missing").await;
    refusal("an empty key", stack.place("").json(&one), 400, "idempotency_key_missing").await;
    let long = "k".repeat(5_000);
    refusal("a long key", stack.place(&long).json(&one), 422, "validation_failed").await;

    let arm = stack.inventory(Method::POST, "/v1/lab/pauses");
    let armed = arm.json(&json!({"sku": "chair", "count": 1})).send().await;
    assert!(armed.expect("a reply").status().is_success());
    let first = tokio::spawn(stack.place("k").json(&one).send());
    stack.inventory.process.stopped().await.expect("paused in the write");
    refusal("a key in flight", stack.place("k").json(&one), 409, "idempotency_in_progress").await;
    stack.inventory.process.resume();
    let first = first.await.expect("no panic").expect("a reply");
    assert_eq!(first.status(), 201);

    let two = order(&[("chair", json!(2))]);
    refusal("a reused key", stack.place("k").json(&two), 422, "idempotency_key_reused").await;
    let again = stack.place("k").json(&one).send().await.expect("a reply");
    assert_eq!(again.bytes().await.expect("a body"), first.bytes().await.expect("a body"));
    stack.is_unchanged(4).await;
}

#[tokio::test]
async fn malformed_http_changes_no_row_and_ends_no_process() {
    let stack = Stack::start(Lab::On).await;
    stack.put_stock("chair", 5).await;
    let (length, key) = ("content-length: 5", "idempotency-key: k");
    let json = "content-type: application/json";
    let long = "x".repeat(100_000);
    let nonsense = [
        "\r\n\r\n".to_owned(),
        "\0\0\0\0\r\n\r\n".to_owned(),
        "BREW /pot HTCPCP/1.0\r\n\r\n".to_owned(),
        format!("GET /{long} HTTP/1.1\r\nhost: x\r\n\r\n"),
        format!("GET / HTTP/1.1\r\nhost: x\r\nx: {long}{long}{long}{long}{long}\r\n\r\n"),
        format!("POST /v1/orders HTTP/1.1\r\nhost: x\r\n{json}\r\n{key}\r\n{length}\r\n{length}0\r\n\r\n{{}}"),
        format!("POST /v1/orders HTTP/1.1\r\nhost: x\r\n{json}\r\n{key}\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n"),
        format!("POST /v1/orders HTTP/1.1\r\nhost: x\r\n{json}\r\n{key}\r\ncontent-length: -1\r\n\r\n"),
        format!("POST /v1/orders HTTP/1.1\r\nhost: x\r\n{json}\r\nidempotency-key: \u{7f}\r\n{length}\r\n\r\n{{}}   "),
    ];
    for service in [&stack.order, &stack.inventory] {
        let address = service.url.trim_start_matches("http://");
        for request in &nonsense {
            let mut connection = TcpStream::connect(address).await.expect("a connection");
            // The server may answer or close the connection.
            drop(connection.write_all(request.as_bytes()).await);
            drop(connection.shutdown().await);
            drop(connection.read_to_end(&mut Vec::new()).await);
        }
    }
    stack.is_unchanged(5).await;
}
