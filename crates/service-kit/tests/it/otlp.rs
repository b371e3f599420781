//! A collector that is not there.

use rustix::process::Signal;

use crate::child::Greeter;

/// Spans that were lost so far, as the service counts them.
async fn lost(http: &reqwest::Client, greeter: &Greeter) -> u64 {
    let metrics = http.get(format!("{}/metrics", greeter.url)).send().await.expect("a reply");
    let metrics = metrics.text().await.expect("metrics");
    let lost = metrics.lines().find_map(|line| line.strip_prefix("otlp_spans_total{outcome=\"lost\"} "));
    lost.map_or(0, |lost| lost.parse().expect("a number"))
}

#[tokio::test]
async fn a_collector_that_is_away_costs_no_request_and_is_named_once() {
    let unused = std::net::TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr());
    let endpoint = format!("--otlp-endpoint=http://{}", unused.expect("a port"));
    let greeter = Greeter::start_with(&["--log-format=json", &endpoint], &[("OTEL_BSP_SCHEDULE_DELAY", "10")]).await;
    let http = reqwest::Client::builder().no_proxy().build().expect("a client");
    let mut batches = 0;
    let mut before = 0;
    while batches < 3 {
        let body = serde_json::json!({"name": "Ada"});
        let greeting = http.post(format!("{}/v1/greetings", greeter.url)).json(&body).send().await.expect("a reply");
        assert_eq!(greeting.status(), 200);
        let now = lost(&http, &greeter).await;
        batches += u32::from(now > before);
        before = now;
    }

    let ended = greeter.end_with(Signal::TERM).await;

    assert!(ended.success, "{}", ended.stderr);
    let said = ended.stderr.matches("OpenTelemetry collector unreachable").count();
    assert_eq!(said, 1, "{}", ended.stderr);
}

#[tokio::test]
async fn without_a_collector_no_span_is_made() {
    let greeter = Greeter::start(&[]).await;
    let http = reqwest::Client::builder().no_proxy().build().expect("a client");
    let metrics = http.get(format!("{}/metrics", greeter.url)).send().await.expect("a reply");
    assert!(!metrics.text().await.expect("metrics").contains("otlp_spans_total"));
    assert!(greeter.end_with(Signal::TERM).await.success);
}
