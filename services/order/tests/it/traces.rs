//! One trace from the client through both services, as a collector receives it.

use std::{path::Path, time::Duration};

use opentelemetry_proto::tonic::trace::v1::span::SpanKind;
use serde_json::Value;

use crate::{
    collector::{Collector, Sent, hex},
    process::{self, Running},
    stack::{Inventory, Reply, Stack, order_body, start_inventory},
};

const TIMEOUT: Duration = Duration::from_secs(30);
const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const CALLER: &str = "00f067aa0ba902b7";

/// One replica of each service, logging in JSON and sending spans to `endpoint`.
async fn pair(stack: &Stack, name: &str, endpoint: &str, log: &str) -> (Inventory, Running) {
    let telemetry = [
        ("HOLDFAST_OTLP_ENDPOINT", endpoint),
        ("LOG_FORMAT", "json"),
        ("RUST_LOG", log),
        ("ORDER_RECONCILE_MS", "3600000"),
    ];
    let inventory = start_inventory(&stack.stock_url, &telemetry).await;
    let mut envs = telemetry.to_vec();
    envs.push(("ORDER_INVENTORY_URLS", &inventory.url));
    let order = process::replica(stack, name, &envs).await;
    (inventory, order)
}

async fn place(stack: &Stack, order: &Running, key: &str) -> Reply {
    let request = stack.http.post(format!("{}/v1/orders", order.url)).header("idempotency-key", key);
    Reply::of(request.header("traceparent", format!("00-{TRACE}-{CALLER}-01")).json(&order_body("chair", 1))).await
}

fn only<'a>(spans: &'a [Sent], service: &str, name: &str) -> &'a Sent {
    let found: Vec<_> = spans.iter().filter(|sent| sent.service == service && sent.span.name == name).collect();
    assert_eq!(found.len(), 1, "{service}: {name} in {:?}", names(spans));
    found[0]
}

fn names(spans: &[Sent]) -> Vec<(&str, &str)> {
    spans.iter().map(|sent| (sent.service.as_str(), sent.span.name.as_str())).collect()
}

#[tokio::test]
async fn an_order_is_one_trace_through_both_services_and_shutting_down_sends_it() {
    let (stack, collector) = (Stack::start().await, Collector::start().await);
    stack.put_stock("chair", 1).await;
    let (inventory, order) = pair(&stack, "traced", &collector.endpoint, "info,service_kit=debug").await;
    let placed = place(&stack, &order, "k").await;
    assert_eq!(placed.status, 201, "{}", placed.body);
    let (order_log, inventory_log) = (order.log.clone(), inventory.log.clone());

    let ended = (order.process.terminate(TIMEOUT).await, inventory.process.terminate(TIMEOUT).await);

    assert!(ended.0.is_some_and(|status| status.success()) && ended.1.is_some_and(|status| status.success()));
    let spans = collector.trace(TRACE);
    let request = &only(&spans, "order", "POST /v1/orders").span;
    assert_eq!((hex(&request.parent_span_id).as_str(), request.kind), (CALLER, SpanKind::Server as i32));
    let acquire = &only(&spans, "order", "acquire").span;
    let section = &only(&spans, "order", "critical_section").span;
    for step in [acquire, section] {
        assert_eq!(step.parent_span_id, request.span_id, "{}", step.name);
    }
    for call in ["POST /v1/claims", "POST /v1/reservations"] {
        let served = &only(&spans, "inventory", call).span;
        assert_eq!((&served.parent_span_id, served.kind), (&section.span_id, SpanKind::Server as i32), "{call}");
    }
    assert_eq!(answered(&order_log, &request.span_id), 1, "the log has the ids of the span");
    for call in ["POST /v1/claims", "POST /v1/reservations"] {
        assert_eq!(answered(&inventory_log, &only(&spans, "inventory", call).span.span_id), 1, "{call}");
    }
}

/// The number of requests that the log reports as answered in this span of the trace.
fn answered(log: &Path, span: &[u8]) -> usize {
    let log = std::fs::read_to_string(log).expect("a log");
    // The address on standard output is in the same file.
    let lines = log.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let answered = lines.filter(|line| line["message"] == "request answered").map(|line| line["span"].clone());
    answered.filter(|of| of["trace_id"] == TRACE && of["span_id"] == *hex(span)).count()
}

#[tokio::test]
async fn orders_that_share_a_grant_keep_their_traces_and_the_section_names_them_all() {
    let (stack, collector) = (Stack::start().await, Collector::start().await);
    stack.put_stock("chair", 9).await;
    let (_inventory, order) = pair(&stack, "sharing", &collector.endpoint, "warn").await;
    let held = ["SET", "lock:{sku:chair}", "owner:other:token:1:expiry:1", "PX", "400"];
    for node in &stack.redis {
        node.command(&held).await.expect("redis");
    }

    let placed = tokio::join!(place(&stack, &order, "a"), place(&stack, &order, "b"));

    assert_eq!((placed.0.status, placed.1.status), (201, 201), "{} {}", placed.0.body, placed.1.body);
    order.process.terminate(TIMEOUT).await;
    let spans = collector.trace(TRACE);
    let requests: Vec<_> = spans.iter().filter(|sent| sent.span.name == "POST /v1/orders").collect();
    let section = &only(&spans, "order", "critical_section").span;
    let mut named = vec![&section.parent_span_id];
    named.extend(section.links.iter().map(|link| &link.span_id));
    let mut all: Vec<_> = requests.iter().map(|sent| &sent.span.span_id).collect();
    named.sort();
    all.sort();
    assert_eq!(named, all, "{:?}", names(&spans));
}
