//! Shutdown: requested, drained, and enforced after the drain time.

use std::{sync::Arc, time::Duration};

use axum::{Router, routing::get};
use rustix::process::Signal;
use serde_json::Value;
use service_kit::{limits::Limits, serve};
use tokio::{net::TcpStream, sync::Semaphore, time::timeout};

use crate::{child::Greeter, server::Server};

/// A server with one request in flight, which ends when `let_go` has a permit.
async fn at_work(drain: Duration) -> (Server, Arc<Semaphore>, tokio::task::JoinHandle<reqwest::Result<String>>) {
    let (entered, let_go) = (Arc::new(Semaphore::new(0)), Arc::new(Semaphore::new(0)));
    let (enter, leave) = (Arc::clone(&entered), Arc::clone(&let_go));
    let work = move || {
        let (enter, leave) = (Arc::clone(&enter), Arc::clone(&leave));
        async move {
            enter.add_permits(1);
            drop(leave.acquire().await);
            "done"
        }
    };
    let router = Router::new().route("/v1/work", get(work));
    let server = Server::with(router, Limits::default(), drain).await;
    let get = server.http.get(server.url("/v1/work"));
    let request = tokio::spawn(async move { get.send().await?.text().await });
    entered.acquire().await.expect("never closed").forget();
    (server, let_go, request)
}

#[tokio::test]
async fn at_shutdown_a_request_in_flight_is_answered_and_no_new_one_is_accepted() {
    let (mut server, let_go, request) = at_work(serve::DRAIN).await;
    server.ask_to_stop();
    // Refused as soon as the listener is gone; until then connections may still be made.
    while TcpStream::connect(server.address).await.is_ok() {
        tokio::task::yield_now().await;
    }
    assert!(!server.served.is_finished());
    let_go.add_permits(1);
    assert_eq!(request.await.expect("no panic").expect("a reply"), "done");
    server.served.await.expect("no panic").expect("a clean end");
}

#[tokio::test]
async fn a_request_that_never_ends_does_not_keep_the_service_alive() {
    let (mut server, _let_go, _request) = at_work(Duration::from_millis(1)).await;
    server.ask_to_stop();
    server.served.await.expect("no panic").expect("an end");
}

#[tokio::test]
async fn signals_end_the_process_cleanly_and_stdout_has_one_line() {
    for signal in [Signal::TERM, Signal::INT] {
        let greeter = Greeter::start(&[]).await;
        assert!(greeter.url.starts_with("http://127.0.0.1:"), "{}", greeter.url);
        let ended = greeter.end_with(signal).await;
        assert!(ended.success, "{signal:?}: {}", ended.stderr);
        assert_eq!(ended.more_stdout, Vec::<String>::new());
        assert!(ended.stderr.contains("serving"), "{}", ended.stderr);
    }
}

#[tokio::test]
async fn a_look_up_of_a_name_that_never_ends_does_not_keep_the_process_alive() {
    let greeter = Greeter::start(&[]).await;
    let http = reqwest::Client::builder().no_proxy().build().expect("a client");
    let answer = http.get(format!("{}/v1/look-up", greeter.url)).send().await.expect("a reply");
    assert_eq!(answer.status(), 200);
    let ended = timeout(2 * serve::DRAIN, greeter.end_with(Signal::TERM)).await.expect("an end");
    assert!(ended.success, "{}", ended.stderr);
}

#[tokio::test]
async fn a_panic_is_logged_as_json_with_its_trace_and_the_process_goes_on() {
    let greeter = Greeter::start(&["--log-format=json"]).await;
    let http = reqwest::Client::builder().no_proxy().build().expect("a client");
    let defect = http.get(format!("{}/v1/defect", greeter.url)).send().await;
    let problem: Value = defect.expect("a reply").json().await.expect("a problem");
    assert_eq!(problem["code"], "internal");
    let body = serde_json::json!({"name": "Ada"});
    let greeting = http.post(format!("{}/v1/greetings", greeter.url)).json(&body).send().await;
    let greeting = greeting.expect("a reply").text().await.expect("a greeting");
    assert_eq!(greeting, "good day, Ada");

    let log = greeter.end_with(Signal::TERM).await.stderr;
    let lines = log.lines().map(|line| serde_json::from_str(line).expect("a line of JSON"));
    let panics: Vec<Value> = lines.filter(|line: &Value| line["message"] == "task panicked").collect();
    let [panic] = panics.as_slice() else {
        panic!("logged {} times: {log}", panics.len());
    };
    assert_eq!(panic["panic"], "this handler is defective");
    assert_eq!(panic["span"]["trace_id"], problem["trace_id"]);
}
