//! Metrics, as Prometheus scrapes them. The test process has one recorder, so every
//! test has routes of its own.

use axum::{
    Router,
    http::StatusCode,
    routing::{get, post},
};

use crate::server::{Reply, Server};

/// The value of the only series whose line has all of these parts.
fn value(metrics: &str, parts: &[&str]) -> Option<f64> {
    let mut lines = metrics.lines().filter(|line| parts.iter().all(|part| line.contains(part)));
    let line = lines.next()?;
    assert!(lines.next().is_none(), "more than one series with {parts:?}");
    line.rsplit(' ').next()?.parse().ok()
}

#[tokio::test]
async fn requests_are_counted_and_timed_by_route_not_by_path() {
    let router = Router::new().route("/v1/counted/{id}", get(async || StatusCode::ACCEPTED));
    let server = Server::start(router).await;
    for id in 0..3 {
        server.get(&format!("/v1/counted/{id}")).await;
    }
    let reply = server.get("/metrics").await;
    assert!(reply.header("content-type").starts_with("text/plain"));
    let series = [r#"method="GET""#, r#"route="/v1/counted/{id}""#, r#"status="202""#];
    let count = |name| {
        let parts: Vec<_> = [name].into_iter().chain(series).collect();
        value(&reply.text, &parts)
    };
    assert_eq!(count("http_requests_total{"), Some(3.0));
    assert_eq!(count("http_request_duration_seconds_count{"), Some(3.0));
    let parts: Vec<_> = ["http_request_duration_seconds_bucket{", r#"le="+Inf""#].into_iter().chain(series).collect();
    assert_eq!(value(&reply.text, &parts), Some(3.0));
}

#[tokio::test]
async fn a_caller_cannot_create_metric_series() {
    let server = Server::start(Router::new()).await;
    for number in 0..3 {
        let method = format!("MADEUP{number}").parse().expect("a method");
        let url = server.url(&format!("/v1/made-up/{number}"));
        Reply::of(server.http.request(method, url)).await;
    }
    let metrics = server.get("/metrics").await.text;
    let series = ["http_requests_total{", r#"method="other""#, r#"route="unmatched""#, r#"status="404""#];
    assert_eq!(value(&metrics, &series), Some(3.0));
    assert!(!metrics.contains("MADEUP"), "{metrics}");
    assert!(!metrics.contains("made-up"), "{metrics}");
}

#[tokio::test]
async fn a_panic_is_counted_as_status_500() {
    let panic = get(async || -> &str { panic!("a defect that is counted") });
    let server = Server::start(Router::new().route("/v1/counted-defect", panic)).await;
    server.get("/v1/counted-defect").await;
    let metrics = server.get("/metrics").await.text;
    let series = ["http_requests_total{", r#"route="/v1/counted-defect""#, r#"status="500""#];
    assert_eq!(value(&metrics, &series), Some(1.0));
}

#[tokio::test]
async fn a_body_that_is_refused_by_its_length_is_counted_under_its_route() {
    let router = Router::new().route("/v1/counted-body/{id}", post(async || StatusCode::OK));
    let server = Server::start(router).await;
    let too_large = "x".repeat(2 << 20);
    assert_eq!(server.post("/v1/counted-body/1", too_large).await.status, StatusCode::PAYLOAD_TOO_LARGE);
    let metrics = server.get("/metrics").await.text;
    let series = ["http_requests_total{", r#"route="/v1/counted-body/{id}""#, r#"status="413""#];
    assert_eq!(value(&metrics, &series), Some(1.0));
}
