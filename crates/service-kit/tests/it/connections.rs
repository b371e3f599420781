//! Connections that wait: half a head, nothing at all, more of them than file handles.

use std::time::Duration;

use axum::{Router, routing::get};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    time::{advance, pause, resume, sleep, timeout},
};

use crate::{child::Greeter, server::Server};

const HALF_A_HEAD: &[u8] = b"GET /livez HTTP/1.1\r\nhost: x\r\n";
const SOON: Duration = Duration::from_secs(3);

async fn server() -> Server {
    let slow = async || {
        sleep(Duration::from_mins(5)).await;
        "done"
    };
    Server::start(Router::new().route("/v1/slow", get(slow))).await
}

/// Lets time pass on both sides. The bytes on their way arrive first.
async fn pass(seconds: u64) {
    sleep(Duration::from_millis(100)).await;
    pause();
    advance(Duration::from_secs(seconds)).await;
    resume();
}

/// What the server sends until it closes the connection.
async fn until_closed(connection: &mut TcpStream) -> String {
    let mut sent = String::new();
    let end = timeout(SOON, connection.read_to_string(&mut sent)).await;
    end.expect("the server closes the connection").expect("an end without a reset");
    sent
}

async fn is_open(connection: &mut TcpStream) -> bool {
    timeout(Duration::from_millis(200), connection.read_u8()).await.is_err()
}

/// More clients than the service has file handles, each on a new connection.
async fn clients(greeter: &Greeter, first_bytes: &[u8]) -> Vec<TcpStream> {
    let address = greeter.url.strip_prefix("http://").expect("an address");
    let mut clients = Vec::new();
    for _ in 0..300 {
        let mut client = timeout(SOON, TcpStream::connect(address)).await.expect("in time").expect("a connection");
        client.write_all(first_bytes).await.expect("the first bytes were sent");
        clients.push(client);
    }
    clients
}

#[tokio::test]
async fn the_newest_client_is_served_while_more_clients_than_file_handles_send_half_a_head() {
    for first_bytes in [HALF_A_HEAD, b""] {
        let greeter = Greeter::start_with_handles(256).await;
        let _waiting = clients(&greeter, first_bytes).await;
        let http = reqwest::Client::builder().no_proxy().timeout(SOON).build().expect("a client");
        for _ in 0..3 {
            let alive = http.get(format!("{}/livez", greeter.url)).send().await.expect("a reply");
            assert_eq!(alive.status(), 200);
        }
    }
}

#[tokio::test]
async fn a_head_that_is_not_received_within_5_s_of_its_first_byte_ends_the_connection() {
    let server = server().await;
    let mut connection = server.connect().await;
    pass(20).await;
    connection.write_all(HALF_A_HEAD).await.expect("half a head");
    pass(3).await;
    assert!(is_open(&mut connection).await);
    // More bytes do not extend the time.
    connection.write_all(b"x-more: 1\r\n").await.expect("more of the head");
    pass(2).await;
    assert_eq!(until_closed(&mut connection).await, "");
}

#[tokio::test]
async fn an_idle_connection_is_kept_for_100_s() {
    let server = server().await;
    let mut connection = server.connect().await;
    for _ in 0..2 {
        pass(95).await;
        connection.write_all(HALF_A_HEAD).await.expect("half a head");
        connection.write_all(b"\r\n").await.expect("the rest");
        let mut reply = [0; 1024];
        let length = connection.read(&mut reply).await.expect("a reply");
        assert!(reply[..length].starts_with(b"HTTP/1.1 200 OK"), "{length}");
    }
    pass(101).await;
    assert_eq!(until_closed(&mut connection).await, "");
}

#[tokio::test]
async fn a_request_in_progress_has_neither_deadline() {
    let server = server().await;
    let mut connection = server.connect().await;
    let request = b"GET /v1/slow HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n";
    connection.write_all(request).await.expect("a request");
    pass(200).await;
    assert!(is_open(&mut connection).await);
    pass(100).await;
    let sent = until_closed(&mut connection).await;
    assert!(sent.ends_with("done"), "{sent}");
}
