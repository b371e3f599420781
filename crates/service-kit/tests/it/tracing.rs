//! One trace from the caller, through us, to those we call.

use axum::{Json, Router, routing::get};
use reqwest::header::HeaderMap;
use serde_json::{Value, json};
use service_kit::trace::{current_trace_id, current_traceparent, in_current_trace};

use crate::server::{Reply, Server};

const CALLER: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
const TRACE_ID: &str = "4bf92f3577b34da6a3ce929d0e0e4736";

fn known() -> Value {
    json!({"trace_id": current_trace_id(), "traceparent": current_traceparent()})
}

async fn server() -> Server {
    let spawned = async || {
        let carried = tokio::spawn(in_current_trace(async { known() })).await.expect("no panic");
        let left = tokio::spawn(async { known() }).await.expect("no panic");
        Json(json!({"carried": carried, "left": left}))
    };
    let router = Router::new().route("/v1/known", get(async || Json(known()))).route("/v1/spawned", get(spawned));
    Server::start(router).await
}

async fn get_with(server: &Server, path: &str, traceparents: &[&str]) -> Reply {
    let mut headers = HeaderMap::new();
    for traceparent in traceparents {
        headers.append("traceparent", traceparent.parse().expect("a header"));
    }
    Reply::of(server.http.get(server.url(path)).headers(headers)).await
}

fn parts(traceparent: &Value) -> Vec<String> {
    let text = traceparent.as_str().expect("a traceparent");
    text.split('-').map(ToOwned::to_owned).collect()
}

#[tokio::test]
async fn the_callers_trace_goes_on_under_a_span_of_our_own() {
    let server = server().await;
    let known = get_with(&server, "/v1/known", &[CALLER]).await.json();
    assert_eq!(known["trace_id"], TRACE_ID);
    let [version, trace_id, span_id, flags] = parts(&known["traceparent"]).try_into().expect("four parts");
    assert_eq!((version.as_str(), trace_id.as_str(), flags.as_str()), ("00", TRACE_ID, "01"));
    assert_eq!(span_id.len(), 16);
    assert_ne!(span_id, "00f067aa0ba902b7");
}

#[tokio::test]
async fn a_problem_names_the_trace() {
    let server = server().await;
    let reply = get_with(&server, "/v1/nothing", &[CALLER]).await;
    assert_eq!(reply.problem(404, "not_found")["trace_id"], TRACE_ID);
}

#[tokio::test]
async fn without_a_usable_traceparent_a_trace_begins_here() {
    let server = server().await;
    let upper = CALLER.to_uppercase();
    let useless: [&[&str]; 4] = [&[], &["nonsense"], &[&upper], &[CALLER, CALLER]];
    let mut seen = Vec::new();
    for traceparents in useless {
        let known = get_with(&server, "/v1/known", traceparents).await.json();
        let trace_id = parts(&known["traceparent"])[1].clone();
        assert_eq!(known["trace_id"], *trace_id);
        assert_ne!(trace_id, TRACE_ID);
        assert!(!seen.contains(&trace_id), "{trace_id} twice");
        seen.push(trace_id);
    }
}

#[tokio::test]
async fn spawned_work_belongs_to_the_request_only_if_carried() {
    let server = server().await;
    let spawned = get_with(&server, "/v1/spawned", &[CALLER]).await.json();
    assert_eq!(spawned["carried"]["trace_id"], TRACE_ID);
    assert_eq!(spawned["left"]["trace_id"], Value::Null);
    assert_eq!(spawned["left"]["traceparent"], Value::Null);
}

#[tokio::test]
async fn outside_of_a_request_there_is_no_trace_and_carrying_does_not_mind() {
    assert_eq!(in_current_trace(async { known() }).await["trace_id"], Value::Null);
}
