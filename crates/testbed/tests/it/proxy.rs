//! Each fault of the proxy, between a real client and a real Redis node.

use std::os::unix::process::CommandExt as _;
use std::process::Command;
use std::thread::ScopedJoinHandle;
use std::time::Duration;

use testbed::{Proxy, RedisNode};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout};

/// Reached only if something hangs.
const LIMIT: Duration = Duration::from_secs(30);
/// No reply within this time means that it is held back; a reply takes well under a millisecond.
const SILENCE: Duration = Duration::from_millis(200);

async fn through_a_proxy() -> (RedisNode, Proxy) {
    let node = RedisNode::start().await.expect("a node");
    let proxy = Proxy::start(node.addr()).await.expect("a proxy");
    (node, proxy)
}

/// The first line of the reply.
async fn ask(stream: &mut TcpStream, command: &str) -> std::io::Result<String> {
    stream.write_all(format!("{command}\r\n").as_bytes()).await?;
    line(stream).await
}

async fn line(stream: &mut TcpStream) -> std::io::Result<String> {
    let mut line = String::new();
    while !line.ends_with("\r\n") {
        line.push(char::from(stream.read_u8().await?));
    }
    Ok(line.trim_end().to_owned())
}

#[tokio::test]
async fn without_a_fault_all_bytes_pass_unchanged() {
    let (_node, proxy) = through_a_proxy().await;
    let mut stream = TcpStream::connect(proxy.addr()).await.expect("a connection");
    let big = "x".repeat(3 << 20);
    let set = format!("*3\r\n$3\r\nSET\r\n$3\r\nbig\r\n${}\r\n{big}", big.len());
    assert_eq!(ask(&mut stream, &set).await.expect("a reply"), "+OK");
    assert_eq!(ask(&mut stream, "GET big").await.expect("a reply"), format!("${}", big.len()));
    assert_eq!(line(&mut stream).await.expect("the value"), big);
    stream.shutdown().await.expect("our end closes");
    assert_eq!(stream.read(&mut [0]).await.expect("the other end closes too"), 0);
}

#[tokio::test]
async fn latency_is_added_each_way() {
    let (_node, proxy) = through_a_proxy().await;
    let mut stream = TcpStream::connect(proxy.addr()).await.expect("a connection");
    let latency = Duration::from_millis(150);
    proxy.set_latency(latency);
    let start = Instant::now();
    assert_eq!(ask(&mut stream, "PING").await.expect("a reply"), "+PONG");
    assert!(start.elapsed() >= 2 * latency, "{:?}", start.elapsed());
}

#[tokio::test]
async fn commands_dropped_towards_the_server_are_executed_late() {
    let (node, proxy) = through_a_proxy().await;
    let mut stream = TcpStream::connect(proxy.addr()).await.expect("a connection");
    assert_eq!(ask(&mut stream, "INCR n").await.expect("a reply"), ":1");
    proxy.drop_to_upstream(true);
    timeout(SILENCE, ask(&mut stream, "INCR n")).await.expect_err("no answer");
    assert_eq!(node.command(&["GET", "n"]).await.expect("a reply"), "1", "the server did not receive it");
    proxy.drop_to_upstream(false);
    assert_eq!(timeout(LIMIT, line(&mut stream)).await.expect("in time").expect("a reply"), ":2");
}

#[tokio::test]
async fn commands_whose_replies_are_dropped_were_executed() {
    let (node, proxy) = through_a_proxy().await;
    let mut stream = TcpStream::connect(proxy.addr()).await.expect("a connection");
    proxy.drop_to_client(true);
    timeout(SILENCE, ask(&mut stream, "INCR n")).await.expect_err("no answer");
    assert_eq!(node.command(&["GET", "n"]).await.expect("a reply"), "1", "the server executed it");
    proxy.heal();
    assert_eq!(timeout(LIMIT, line(&mut stream)).await.expect("in time").expect("a reply"), ":1");
}

#[tokio::test]
async fn a_connection_dropped_both_ways_stays_open() {
    let (_node, proxy) = through_a_proxy().await;
    let mut stream = TcpStream::connect(proxy.addr()).await.expect("a connection");
    proxy.drop_to_upstream(true);
    proxy.drop_to_client(true);
    let mut another = TcpStream::connect(proxy.addr()).await.expect("connections are still accepted");
    timeout(SILENCE, ask(&mut stream, "PING")).await.expect_err("no answer");
    timeout(SILENCE, ask(&mut another, "PING")).await.expect_err("no answer");
    proxy.heal();
    for stream in [&mut stream, &mut another] {
        assert_eq!(timeout(LIMIT, line(stream)).await.expect("in time").expect("a reply"), "+PONG");
    }
}

#[tokio::test]
async fn established_connections_are_silent_while_new_ones_work() {
    let (node, proxy) = through_a_proxy().await;
    let mut old = TcpStream::connect(proxy.addr()).await.expect("a connection");
    assert_eq!(ask(&mut old, "INCR n").await.expect("a reply"), ":1");
    proxy.silence_established();
    timeout(SILENCE, ask(&mut old, "INCR n")).await.expect_err("no answer, and no end");
    assert_eq!(node.command(&["GET", "n"]).await.expect("a reply"), "1", "the server did not receive it");
    let mut new = TcpStream::connect(proxy.addr()).await.expect("a connection");
    assert_eq!(timeout(LIMIT, ask(&mut new, "INCR n")).await.expect("in time").expect("a reply"), ":2");
    proxy.silence_established();
    timeout(SILENCE, ask(&mut new, "PING")).await.expect_err("established by now");
    proxy.heal();
    assert_eq!(timeout(LIMIT, line(&mut old)).await.expect("in time").expect("a reply"), ":3");
    assert_eq!(timeout(LIMIT, line(&mut new)).await.expect("in time").expect("a reply"), "+PONG");
}

#[tokio::test]
async fn silenced_connections_are_closed_without_what_was_held_back_and_others_stay() {
    let (node, proxy) = through_a_proxy().await;
    let mut old = TcpStream::connect(proxy.addr()).await.expect("a connection");
    assert_eq!(ask(&mut old, "INCR n").await.expect("a reply"), ":1");
    proxy.silence_established();
    timeout(SILENCE, ask(&mut old, "INCR n")).await.expect_err("no answer");
    let mut new = TcpStream::connect(proxy.addr()).await.expect("a connection");
    assert_eq!(ask(&mut new, "PING").await.expect("a reply"), "+PONG");
    proxy.close_silenced();
    proxy.heal();
    timeout(LIMIT, line(&mut old)).await.expect("in time").expect_err("closed");
    assert_eq!(ask(&mut new, "PING").await.expect("a reply"), "+PONG");
    assert_eq!(node.command(&["GET", "n"]).await.expect("a reply"), "1", "what was held back is lost");
}

#[tokio::test]
async fn a_cut_closes_and_refuses_until_it_is_healed() {
    let (_node, proxy) = through_a_proxy().await;
    let mut stream = TcpStream::connect(proxy.addr()).await.expect("a connection");
    assert_eq!(ask(&mut stream, "PING").await.expect("a reply"), "+PONG");
    for _ in 0..3 {
        proxy.cut();
        let refused = TcpStream::connect(proxy.addr()).await.expect_err("no new connections");
        assert_eq!(refused.kind(), std::io::ErrorKind::ConnectionRefused);
        timeout(LIMIT, ask(&mut stream, "PING")).await.expect("at once").expect_err("the old connection is closed");
        proxy.heal();
        stream = TcpStream::connect(proxy.addr()).await.expect("connections are accepted again");
        assert_eq!(ask(&mut stream, "PING").await.expect("a reply"), "+PONG");
    }
    let addr = proxy.addr();
    drop(proxy);
    TcpStream::connect(addr).await.expect_err("the listener is closed");
    timeout(LIMIT, ask(&mut stream, "PING")).await.expect("at once").expect_err("the connection is closed");
}

/// A child that was forked and has not executed its program yet has a copy of every handle, that of the listener too.
#[tokio::test]
async fn a_cut_is_in_effect_at_once_while_child_processes_are_started() {
    let (_node, proxy) = through_a_proxy().await;
    std::thread::scope(|threads| {
        let start_children = || {
            for _ in 0..200 {
                // The account makes the library fork, as it does for a server that may not run as root.
                Command::new("true").gid(rustix::process::getgid().as_raw()).status().expect("it ran");
            }
        };
        let starting = [(); 4].map(|()| threads.spawn(start_children));
        while !starting.iter().all(ScopedJoinHandle::is_finished) {
            proxy.cut();
            std::net::TcpStream::connect(proxy.addr()).expect_err("no new connections");
            proxy.heal();
            std::net::TcpStream::connect(proxy.addr()).expect("connections are accepted again");
        }
    });
}

#[tokio::test]
async fn open_connections_are_counted_silent_ones_included() {
    let (_node, proxy) = through_a_proxy().await;
    let mut streams = Vec::new();
    for open in 1..=3 {
        let mut stream = TcpStream::connect(proxy.addr()).await.expect("a connection");
        assert_eq!(ask(&mut stream, "PING").await.expect("a reply"), "+PONG");
        streams.push(stream);
        assert_eq!(proxy.connections(), open);
    }
    proxy.silence_established();
    assert_eq!(proxy.connections(), 3);
    proxy.close_silenced();
    for stream in &mut streams {
        timeout(LIMIT, stream.read_u8()).await.expect("at once").expect_err("it is closed");
    }
    let none = async {
        while proxy.connections() > 0 {
            tokio::task::yield_now().await;
        }
    };
    timeout(LIMIT, none).await.expect("closed connections are not counted");
}
