//! Asserts that an answer is a complete problem of RFC 9457, with code,
//! retryable and trace id.

use reqwest::{RequestBuilder, Response};
use serde_json::{Value, json};

/// Sends the request and asserts the problem that it is answered with.
pub(super) async fn refusal(what: &str, request: RequestBuilder, status: u16, code: &str) -> Value {
    let response = request.send().await;
    let response = response.unwrap_or_else(|error| panic!("{what}: {error:?}"));
    problem(what, response, status, code).await
}

/// Asserts that the answer is a complete problem of this kind, and returns its
/// body.
pub(super) async fn problem(what: &str, response: Response, status: u16, code: &str) -> Value {
    let (got, headers) = (response.status().as_u16(), response.headers().clone());
    let path = response.url().path().to_owned();
    let text = response.text().await.expect("a body");
    let shown = format!("{what}: {got} {text}");
    let problem: Value = serde_json::from_str(&text).unwrap_or_else(|_| panic!("no JSON: {shown}"));
    assert_eq!((got, problem["code"].as_str()), (status, Some(code)), "{shown}");
    assert_eq!(headers["content-type"], "application/problem+json", "{shown}");
    assert_eq!((&problem["status"], &problem["instance"]), (&json!(status), &json!(path)), "{shown}");
    for member in ["type", "title", "detail", "trace_id"] {
        assert!(problem[member].as_str().is_some_and(|text| !text.is_empty()), "no {member}: {shown}");
    }
    assert!(problem["retryable"].is_boolean(), "{shown}");
    problem
}
