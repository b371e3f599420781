//! Snapshots of the text of every problem that the kit answers, as a client receives it.

use axum::{
    Router,
    body::to_bytes,
    http::HeaderMap,
    middleware::{from_fn, from_fn_with_state},
    response::IntoResponse as _,
    routing::{get, post},
};
use reqwest::StatusCode;
use serde_json::Value;
use service_kit::{
    auth::{BearerToken, require_bearer},
    deadline,
    extract::{Json, Path, Query},
    limits::Limits,
    problem::{FieldError, Problem},
    serve,
};

use crate::server::{Reply, Server};

#[derive(serde::Deserialize, garde::Validate)]
struct Greet {
    #[garde(length(min = 1))]
    name: String,
    #[garde(range(min = 1))]
    times: u8,
}

#[derive(serde::Deserialize)]
struct Page {
    limit: Option<u8>,
}

/// Status, the headers that belong to a problem, and the body.
fn text_of(name: &str, status: StatusCode, headers: &HeaderMap, body: &Value) -> String {
    let shown = ["accept-encoding", "allow", "retry-after", "www-authenticate"].into_iter().filter_map(|header| {
        let value = headers.get(header)?.to_str().expect("a header of text");
        Some(format!("{header}: {value}\n"))
    });
    let mut body = body.clone();
    // The order of the keys depends on what else is built.
    body.sort_all_objects();
    let body = serde_json::to_string_pretty(&body).expect("JSON");
    format!("## {name}\n{status}\n{}{body}\n", shown.collect::<String>())
}

fn snapshot(name: &str, texts: &[String]) {
    insta::with_settings!({ filters => [(r#""trace_id": "[0-9a-f]{32}""#, r#""trace_id": "[TRACE ID]""#)] }, {
        insta::assert_snapshot!(name, texts.join("\n"));
    });
}

#[tokio::test]
async fn constructors_name_the_failure_and_the_next_step() {
    let invalid = |pointer: &str| FieldError { pointer: pointer.to_owned(), detail: "lower than 1".to_owned() };
    let problems = [
        ("malformed_json", Problem::malformed_json("expected value at line 1 column 1")),
        ("validation_failed, one field", Problem::validation_failed(vec![invalid("/times")])),
        ("validation_failed, two fields", Problem::validation_failed(vec![invalid("/times"), invalid("/query/limit")])),
        ("unsupported_media_type", Problem::unsupported_media_type()),
        ("unsupported_content_encoding", Problem::unsupported_content_encoding()),
        ("body_too_large", Problem::body_too_large(1_048_576)),
        ("request_timeout", Problem::request_timeout()),
        ("not_found", Problem::not_found("there is no order 7")),
        ("method_not_allowed", Problem::method_not_allowed()),
        ("unauthorized", Problem::unauthorized()),
        ("overloaded", Problem::overloaded()),
        ("dependency_unavailable", Problem::dependency_unavailable("postgres")),
        ("deadline_exceeded", Problem::deadline_exceeded()),
        ("internal", Problem::internal()),
    ];
    let mut texts = Vec::new();
    for (name, problem) in problems {
        let response = problem.into_response();
        let (status, headers) = (response.status(), response.headers().clone());
        let body = to_bytes(response.into_body(), usize::MAX).await.expect("a body");
        texts.push(text_of(name, status, &headers, &serde_json::from_slice(&body).expect("JSON")));
    }
    snapshot("constructors", &texts);
}

fn router() -> Router {
    let internal = Router::new().route("/v1/stock", get(async || "stock"));
    let internal = internal.route_layer(from_fn_with_state(BearerToken::new("s3cret"), require_bearer));
    Router::new()
        .route("/v1/greetings", post(async |Json(body): Json<Greet>| format!("{} {}", body.name, body.times)))
        .route("/v1/greetings/{id}", get(async |Path(id): Path<u32>| id.to_string()))
        .route("/v1/pages", get(async |Query(page): Query<Page>| format!("{:?}", page.limit)))
        .route("/v1/unwrapped", post(async |axum::Json(_): axum::Json<Value>| "ok"))
        .route("/v1/endless", get(async || std::future::pending::<&str>().await))
        .route("/v1/defect", get(async || -> &str { panic!("a defect") }))
        .layer(from_fn(deadline::enforce))
        .merge(internal)
}

#[tokio::test]
async fn answers_name_the_failure_and_the_next_step() {
    let ready = || Box::pin(async { Err(vec!["postgres".to_owned(), "lock quorum".to_owned()]) }) as serve::Readiness;
    let limits = Limits { body_bytes: 10_000, ..Limits::default() };
    let server = Server::ready_if(ready, router(), limits, serve::DRAIN).await;
    let http = &server.http;
    let greetings = |body: &str| server.post("/v1/greetings", body.to_owned());
    let no_time = http.get(server.url("/v1/endless")).header(deadline::HEADER, "0");
    let replies = [
        ("unknown path", server.get("/v1/nothing").await),
        ("wrong method", Reply::of(http.delete(server.url("/v1/greetings"))).await),
        ("body that is not JSON", greetings("{").await),
        ("body without a field", greetings(r#"{"name": "Ada"}"#).await),
        ("body with two invalid fields", greetings(r#"{"name": "", "times": 0}"#).await),
        ("body of another media type", Reply::of(http.post(server.url("/v1/greetings")).body("{}")).await),
        ("body beyond the limit", greetings(&" ".repeat(10_001)).await),
        ("path parameter that does not parse", server.get("/v1/greetings/abc").await),
        ("query parameter that does not parse", server.get("/v1/pages?limit=256").await),
        ("rejection of the framework", server.post("/v1/unwrapped", "{").await),
        ("no bearer token", server.get("/v1/stock").await),
        ("deadline", Reply::of(no_time).await),
        ("panic", server.get("/v1/defect").await),
        ("not ready", server.get("/readyz").await),
    ];
    let texts = replies.map(|(name, reply)| text_of(name, reply.status, &reply.headers, &reply.json()));
    snapshot("answers", &texts);
}
