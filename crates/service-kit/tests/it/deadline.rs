//! Callers that say how long they wait.

use std::{future::pending, time::Duration};

use axum::{Router, middleware::from_fn, routing::get};
use service_kit::deadline;

use crate::server::{Reply, Server};

/// One call that never ends, one that ends at once.
async fn server() -> Server {
    let never = get(async || pending::<&str>().await);
    let router = Router::new().route("/v1/never", never).route("/v1/now", get(async || "done"));
    Server::start(router.layer(from_fn(deadline::enforce))).await
}

async fn wait(server: &Server, path: &str, millis: &str) -> Reply {
    let call = server.http.get(server.url(path)).header(deadline::HEADER, millis);
    // What is given up on time is heard; what is not is an error here.
    Reply::of(call.timeout(Duration::from_secs(20))).await
}

#[tokio::test]
async fn deadline_exceeded_is_504_and_may_be_tried_again() {
    let server = server().await;
    let reply = wait(&server, "/v1/never", "40").await;
    assert_eq!(reply.problem(504, "deadline_exceeded")["retryable"], true);
    assert_eq!(reply.header("retry-after"), "1");
}

#[tokio::test]
async fn what_is_done_in_time_is_answered_whatever_the_header_says() {
    let server = server().await;
    for millis in ["60000", "18446744073709551615", "-1", "soon", ""] {
        assert_eq!(wait(&server, "/v1/now", millis).await.text, "done", "{millis}");
    }
    assert_eq!(server.get("/v1/now").await.text, "done");
}

#[tokio::test]
async fn who_has_no_time_left_is_told_so() {
    let server = server().await;
    wait(&server, "/v1/never", "0").await.problem(504, "deadline_exceeded");
}
