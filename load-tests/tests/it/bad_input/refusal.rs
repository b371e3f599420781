//! A refusal, and whether it is a whole one: RFC 9457 with code, retryable and
//! trace id, whoever found the fault.

use reqwest::{RequestBuilder, Response};
use serde_json::{Value, json};

pub(super) async fn refusal(what: &str, request: RequestBuilder, status: u16, code: &str) -> Value {
    let response = request.send().await;
    let response = response.unwrap_or_else(|error| panic!("{what}: {error:?}"));
    problem(what, response, status, code).await
}

/// The body, once it is sure that it is a whole problem of this kind.
pub(super) async fn problem(what: &str, response: Response, status: u16, code: &str) -> Value {
    let (got, headers) = (response.status().as_u16(), response.headers().clone());
    let path = response.url().path().to_owned();
    let text = response.text().await.expect("a body");
    let said = format!("{what}: {got} {text}");
    let problem: Value = serde_json::from_str(&text).unwrap_or_else(|_| panic!("no JSON: {said}"));
    assert_eq!((got, problem["code"].as_str()), (status, Some(code)), "{said}");
    assert_eq!(headers["content-type"], "application/problem+json", "{said}");
    assert_eq!((&problem["status"], &problem["instance"]), (&json!(status), &json!(path)), "{said}");
    for member in ["type", "title", "detail", "trace_id"] {
        assert!(problem[member].as_str().is_some_and(|text| !text.is_empty()), "no {member}: {said}");
    }
    assert!(problem["retryable"].is_boolean(), "{said}");
    problem
}
