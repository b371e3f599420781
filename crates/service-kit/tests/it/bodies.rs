//! Bodies that are too long or too slow, with and without a Content-Length.

use axum::{Router, routing::post};
use service_kit::{extract::Json, limits::Limits, serve};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::server::Server;

const LIMIT: usize = 1_000;

#[derive(serde::Deserialize, garde::Validate)]
#[serde(transparent)]
struct Text(#[garde(skip)] String);

async fn server() -> Server {
    let router = Router::new()
        .route("/v1/things", post(async |Json(Text(text)): Json<Text>| text.len().to_string()))
        .route("/v1/unread", post(async || "not even read"));
    let limits = Limits { body_bytes: LIMIT, ..Limits::default() };
    Server::with(router, limits, serve::DRAIN).await
}

/// A JSON string of this many bytes.
fn body(bytes: usize) -> String {
    format!("\"{}\"", "x".repeat(bytes - 2))
}

fn request(headers: &str) -> String {
    format!(
        "POST /v1/things HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\nconnection: close\r\n{headers}\r\n"
    )
}

#[tokio::test]
async fn a_body_of_the_limit_is_accepted_and_one_byte_more_is_413() {
    let server = server().await;
    assert_eq!(server.post("/v1/things", body(LIMIT)).await.text, "998");
    let problem = server.post("/v1/things", body(LIMIT + 1)).await;
    let problem = problem.problem(413, "body_too_large");
    assert_eq!(problem["instance"], "/v1/things");
}

/// A client that writes everything before it reads, as the simple ones do.
#[tokio::test]
async fn ten_megabytes_are_answered_413_not_with_a_reset() {
    let server = server().await;
    let length = format!("content-length: {}\r\n", 10 << 20);
    let reply = server.raw(&(request(&length) + &body(10 << 20))).await;
    assert!(reply.starts_with("HTTP/1.1 413 "), "{reply}");

    let chunk = format!("{LIMIT:x}\r\n{}\r\n", "x".repeat(LIMIT));
    let chunked = request("transfer-encoding: chunked\r\n");
    let reply = server.raw(&format!("{chunked}{}0\r\n\r\n", chunk.repeat(10_000))).await;
    assert!(reply.starts_with("HTTP/1.1 413 "), "{reply}");
}

#[tokio::test]
async fn a_body_is_refused_by_its_content_length_even_if_the_handler_does_not_read_it() {
    let server = server().await;
    let reply = server.post("/v1/unread", body(LIMIT + 1)).await;
    reply.problem(413, "body_too_large");
}

#[tokio::test]
async fn a_chunked_body_is_refused_when_it_exceeds_the_limit() {
    let server = server().await;
    let chunk = format!("{LIMIT:x}\r\n{}\r\n", "x".repeat(LIMIT));
    let chunked = request("transfer-encoding: chunked\r\n");
    let reply = server.raw(&format!("{chunked}{}0\r\n\r\n", chunk.repeat(2))).await;
    assert!(reply.starts_with("HTTP/1.1 413 "), "{reply}");
    assert!(reply.contains("body_too_large"), "{reply}");

    let within = format!("{chunked}3\r\n\"x\"\r\n0\r\n\r\n");
    let reply = server.raw(&within).await;
    assert!(reply.starts_with("HTTP/1.1 200 "), "{reply}");
}

#[tokio::test]
async fn a_client_that_expects_100_continue_gets_413_before_it_sends_the_body() {
    let server = server().await;
    let reply = server.raw(&request("content-length: 10000000\r\nexpect: 100-continue\r\n")).await;
    assert!(reply.starts_with("HTTP/1.1 413 "), "{reply}");
}

#[tokio::test]
async fn a_body_that_ends_early_affects_no_other_request() {
    let server = server().await;
    let mut connection = server.connect().await;
    let half = format!("{}{{\"half\": ", request("content-length: 100\r\n"));
    connection.write_all(half.as_bytes()).await.expect("half a request");
    drop(connection);
    assert_eq!(server.post("/v1/things", body(10)).await.text, "8");
}

#[tokio::test(start_paused = true)]
async fn a_body_that_is_not_received_in_time_is_408() {
    let server = server().await;
    let mut connection = server.connect().await;
    let half = format!("{}{{\"half\": ", request("content-length: 100\r\n"));
    connection.write_all(half.as_bytes()).await.expect("half a request");
    let mut reply = String::new();
    connection.read_to_string(&mut reply).await.expect("an answer all the same");
    assert!(reply.starts_with("HTTP/1.1 408 "), "{reply}");
    assert!(reply.contains("request_timeout"), "{reply}");
}
