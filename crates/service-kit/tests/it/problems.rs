//! Every failure is answered with a problem, also if the framework detects it.

use std::time::Duration;

use axum::{
    Router,
    http::StatusCode,
    routing::{get, post},
};
use serde_json::{Value, json};
use service_kit::{
    extract::{Json, Path, Query},
    limits::Limits,
    problem::Problem,
    serve,
};

use crate::server::{Reply, Server};

#[derive(Debug, serde::Deserialize, garde::Validate)]
#[serde(deny_unknown_fields)]
struct PlaceOrder {
    #[garde(length(min = 1))]
    customer: String,
    #[garde(length(min = 1), dive)]
    lines: Vec<Line>,
}

#[derive(Debug, serde::Deserialize, garde::Validate)]
struct Line {
    #[garde(length(min = 1))]
    sku: String,
    #[garde(range(min = 1, max = 1_000_000))]
    quantity: i64,
}

#[derive(Debug, serde::Deserialize)]
struct Page {
    limit: Option<u8>,
}

async fn place(Json(order): Json<PlaceOrder>) -> String {
    format!("{} lines", order.lines.len())
}

fn router() -> Router {
    Router::new()
        .route("/v1/orders", post(place))
        .route("/v1/orders/{id}", get(async |Path(id): Path<u32>| id.to_string()))
        .route("/v1/pages", get(async |Query(page): Query<Page>| format!("{:?}", page.limit)))
        .route("/v1/bare", post(async |axum::Json(_): axum::Json<Value>| "taken"))
        .route("/v1/defect", get(async || -> &str { panic!("a defect") }))
        .route(
            "/v1/refusal",
            get(async || {
                let status = StatusCode::CONFLICT;
                Problem::new(status, "out_of_stock", "Out of stock", "2 are left")
                    .with("available", 2)
                    .retry_after(Duration::from_millis(1_001))
            }),
        )
}

/// `(pointer, detail)` of every field in `errors`.
fn named(problem: &Value) -> Vec<(String, String)> {
    let errors = problem["errors"].as_array().expect("errors");
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let pair = |error: &Value| (text(&error["pointer"]), text(&error["detail"]));
    errors.iter().map(pair).collect()
}

#[tokio::test]
async fn a_problem_has_its_path_its_members_and_retry_after() {
    let server = Server::start(router()).await;
    let reply = server.get("/v1/refusal?secret=1").await;
    let problem = reply.problem(409, "out_of_stock");
    assert_eq!(problem["title"], "Out of stock");
    assert_eq!(problem["detail"], "2 are left");
    assert_eq!(problem["instance"], "/v1/refusal");
    assert_eq!(problem["available"], 2);
    assert_eq!(problem["retryable"], true);
    assert_eq!(reply.header("retry-after"), "2");
}

#[tokio::test]
async fn an_unknown_path_is_404() {
    let server = Server::start(router()).await;
    let reply = server.get("/v1/nothing").await;
    assert_eq!(reply.problem(404, "not_found")["instance"], "/v1/nothing");
}

#[tokio::test]
async fn a_wrong_method_is_405_and_allow_lists_the_right_ones() {
    let server = Server::start(router()).await;
    for (path, allowed) in [("/v1/orders", "POST"), ("/livez", "GET,HEAD")] {
        let reply = Reply::of(server.http.delete(server.url(path))).await;
        reply.problem(405, "method_not_allowed");
        assert_eq!(reply.header("allow"), allowed);
    }
}

#[tokio::test]
async fn a_body_that_is_not_json_is_400() {
    let server = Server::start(router()).await;
    let deep = "[".repeat(100_000);
    let too_deep = format!(r#"{{"lines": [{{"more": {deep}"#);
    let bodies = ["", "{", "nonsense", "{\"customer\": \"a\",}", &too_deep];
    for body in bodies {
        let reply = server.post("/v1/orders", body.to_owned()).await;
        reply.problem(400, "malformed_json");
    }
    let good = r#"{"customer": "a", "lines": [{"sku": "x", "quantity": 1}]}"#;
    let trailing = server.post("/v1/orders", format!("{good} trailing")).await;
    trailing.problem(400, "malformed_json");
    let not_utf8 = server.post("/v1/orders", b"{\"customer\": \"\xff\"}".to_vec());
    not_utf8.await.problem(400, "malformed_json");
    assert_eq!(server.post("/v1/orders", good).await.text, "1 lines");
}

#[tokio::test]
async fn json_of_another_shape_is_422_and_names_the_field() {
    let server = Server::start(router()).await;
    let line = |line: &str| format!(r#"{{"customer": "a", "lines": [{line}]}}"#);
    let cases = [
        ("[]".to_owned(), ""),
        ("7".to_owned(), ""),
        ("null".to_owned(), ""),
        (r#"{"lines": []}"#.to_owned(), "/customer"),
        (r#"{"customer": 7, "lines": []}"#.to_owned(), "/customer"),
        (r#"{"customer": "a", "lines": {}}"#.to_owned(), "/lines"),
        (r#"{"a/b~": 1}"#.to_owned(), "/a~1b~0"),
        (line(r#"{"sku": "x"}"#), "/lines/0/quantity"),
        (line(r#"{"sku": "x", "quantity": "1"}"#), "/lines/0/quantity"),
        (line(r#"{"sku": "x", "quantity": 1.5}"#), "/lines/0/quantity"),
        (line(r#"{"sku": "x", "quantity": 99999999999999999999}"#), "/lines/0/quantity"),
        (line(r#"{"sku": null, "quantity": 1}"#), "/lines/0/sku"),
    ];
    for (body, pointer) in cases {
        let problem = server.post("/v1/orders", body.clone()).await;
        let problem = problem.problem(422, "validation_failed");
        let [(at, detail)] = named(&problem).try_into().expect("one field");
        assert_eq!(at, pointer, "{body}");
        assert!(!detail.contains("line 1"), "{detail}");
    }
}

#[tokio::test]
async fn every_field_that_is_out_of_range_is_named() {
    let server = Server::start(router()).await;
    let body = json!({"customer": "", "lines": [
        {"sku": "a", "quantity": 1}, {"sku": "", "quantity": 0}, {"sku": "b", "quantity": 1_000_000_000}
    ]});
    let reply = server.post("/v1/orders", body.to_string()).await;
    let problem = reply.problem(422, "validation_failed");
    let mut pointers: Vec<_> = named(&problem).into_iter().map(|(at, _)| at).collect();
    pointers.sort();
    let wrong = ["/customer", "/lines/1/quantity", "/lines/1/sku", "/lines/2/quantity"];
    assert_eq!(pointers, wrong);
    assert_eq!(problem["retryable"], false);
}

#[tokio::test]
async fn of_many_invalid_fields_the_first_are_listed_and_the_rest_counted() {
    let server = Server::start(router()).await;
    let lines = vec![json!({"sku": "a", "quantity": 0}); 10_000];
    let body = json!({"customer": "a", "lines": lines}).to_string();
    let problem = server.post("/v1/orders", body).await;
    let problem = problem.problem(422, "validation_failed");
    let listed = named(&problem).len();
    assert!(listed > 0, "{problem}");
    assert_eq!(problem["errors_left_out"], 10_000 - listed);
}

#[tokio::test]
async fn a_long_invalid_value_is_truncated_in_the_problem() {
    let server = Server::start(router()).await;
    let long = "é".repeat(100_000);
    let body = json!({"customer": "a", "lines": long}).to_string();
    let reply = server.post("/v1/orders", body).await;
    reply.problem(422, "validation_failed");
    assert!(reply.text.len() < 10_000, "{} bytes", reply.text.len());
}

#[tokio::test]
async fn another_media_type_is_415() {
    let server = Server::start(router()).await;
    let body = r#"{"customer": "a", "lines": [{"sku": "x", "quantity": 1}]}"#;
    for wrong in ["text/plain", "application/xml", "application/jsonp", "json"] {
        let post = server.http.post(server.url("/v1/orders")).body(body);
        let reply = Reply::of(post.header("content-type", wrong)).await;
        reply.problem(415, "unsupported_media_type");
    }
    let undeclared = Reply::of(server.http.post(server.url("/v1/orders")).body(body)).await;
    undeclared.problem(415, "unsupported_media_type");
    for right in ["application/json; charset=utf-8", "Application/JSON", "application/vnd.x+json"] {
        let post = server.http.post(server.url("/v1/orders")).body(body);
        let reply = Reply::of(post.header("content-type", right)).await;
        assert_eq!((reply.status.as_u16(), reply.text.as_str()), (200, "1 lines"));
    }
}

#[tokio::test]
async fn a_content_encoding_other_than_identity_is_415() {
    let server = Server::start(router()).await;
    let post = |encodings: &[&str]| {
        let body = r#"{"customer": "a", "lines": [{"sku": "x", "quantity": 1}]}"#;
        let post = server.http.post(server.url("/v1/orders")).header("content-type", "application/json").body(body);
        Reply::of(encodings.iter().fold(post, |post, encoding| post.header("content-encoding", *encoding)))
    };
    let encoded: [&[&str]; 5] = [&["gzip"], &["br"], &["identity, gzip"], &["identity", "gzip"], &["nonsense"]];
    for encodings in encoded {
        let reply = post(encodings).await;
        reply.problem(415, "unsupported_content_encoding");
        assert_eq!(reply.header("accept-encoding"), "identity");
    }
    for encodings in [&[][..], &["identity"], &["Identity"], &[""]] {
        assert_eq!(post(encodings).await.text, "1 lines", "{encodings:?}");
    }
}

#[tokio::test]
async fn an_identifier_that_does_not_parse_is_404() {
    let server = Server::start(router()).await;
    for id in ["abc", "-1", "4294967296", "%ff"] {
        server.get(&format!("/v1/orders/{id}")).await.problem(404, "not_found");
    }
    assert_eq!(server.get("/v1/orders/7").await.text, "7");
}

#[tokio::test]
async fn a_query_parameter_that_does_not_parse_is_422_and_named() {
    let server = Server::start(router()).await;
    let problem = server.get("/v1/pages?limit=256").await;
    let problem = problem.problem(422, "validation_failed");
    assert_eq!(named(&problem)[0].0, "/query/limit");
    assert_eq!(server.get("/v1/pages?limit=255").await.text, "Some(255)");
}

#[tokio::test]
async fn a_rejection_of_the_framework_is_a_problem() {
    let server = Server::start(router()).await;
    server.post("/v1/bare", "{").await.problem(400, "bad_request");
    let undeclared = Reply::of(server.http.post(server.url("/v1/bare")).body("{}")).await;
    undeclared.problem(415, "unsupported_media_type");
    let large = server.post("/v1/bare", vec![b' '; (1 << 20) + 1]).await;
    large.problem(413, "body_too_large");
}

#[tokio::test]
async fn a_panic_is_500_and_affects_no_other_request() {
    let server = Server::start(router()).await;
    let problem = server.get("/v1/defect").await.problem(500, "internal");
    assert_eq!(problem["instance"], "/v1/defect");
    assert!(!problem.to_string().contains("a defect"), "{problem}");
    assert_eq!(server.get("/v1/orders/7").await.text, "7");
}

#[tokio::test]
async fn a_service_that_is_alive_but_not_ready_lists_what_is_missing() {
    let ready = || Box::pin(async { Err(vec!["postgres".to_owned()]) }) as serve::Readiness;
    let limits = Limits::default();
    let server = Server::ready_if(ready, Router::new(), limits, serve::DRAIN).await;
    assert_eq!(server.get("/livez").await.json()["status"], "alive");
    let reply = server.get("/readyz").await;
    assert_eq!(reply.problem(503, "not_ready")["missing"], json!(["postgres"]));
    assert_eq!(reply.header("retry-after"), "1");

    let server = Server::start(Router::new()).await;
    assert_eq!(server.get("/readyz").await.json()["status"], "ready");
}

#[tokio::test(start_paused = true)]
async fn a_readiness_check_that_hangs_is_not_ready() {
    let ready = || Box::pin(std::future::pending()) as serve::Readiness;
    let limits = Limits::default();
    let server = Server::ready_if(ready, Router::new(), limits, serve::DRAIN).await;
    server.get("/readyz").await.problem(503, "not_ready");
}
