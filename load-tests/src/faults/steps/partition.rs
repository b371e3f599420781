//! Connections on which traffic is held back or lost, and how that is observed.

use std::net::SocketAddr;
use std::time::Duration;

use testbed::Proxy;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::faults::injection::Injection;

/// Asks Postgres whether it speaks TLS; the answer is one letter. Source: Postgres documentation, "SSLRequest".
pub(crate) const SSL_REQUEST: [u8; 8] = [0, 0, 0, 8, 4, 210, 22, 47];
/// No answer to a probe is longer.
const LONGEST_ANSWER: usize = 4096;

/// Proxies that hold traffic back until this is dropped.
#[derive(Debug)]
pub(crate) struct Partition<'a> {
    proxies: Vec<&'a Proxy>,
    direction: &'static str,
}

impl<'a> Partition<'a> {
    /// Holds back requests and replies, requests only, or replies only, by the number of the injection.
    pub(crate) fn begin(injection: &Injection, proxies: Vec<&'a Proxy>) -> Self {
        let (requests, replies, direction) = match injection.number % 3 {
            0 => (true, true, "requests and replies"),
            1 => (true, false, "requests"),
            _ => (false, true, "replies"),
        };
        for proxy in &proxies {
            proxy.drop_to_upstream(requests);
            proxy.drop_to_client(replies);
        }
        Self { proxies, direction }
    }

    /// What is held back.
    pub(crate) fn direction(&self) -> &'static str {
        self.direction
    }

    pub(crate) fn proxies(&self) -> impl Iterator<Item = &Proxy> {
        self.proxies.iter().copied()
    }
}

impl Drop for Partition<'_> {
    fn drop(&mut self) {
        for proxy in &self.proxies {
            proxy.drop_to_upstream(false);
            proxy.drop_to_client(false);
        }
    }
}

/// Proxies whose established connections are silent until this is dropped; then these connections are closed.
#[derive(Debug)]
pub(crate) struct Silence<'a>(Vec<&'a Proxy>);

impl<'a> Silence<'a> {
    /// Silences the connections that exist now.
    pub(crate) fn begin(proxies: Vec<&'a Proxy>) -> Self {
        for proxy in &proxies {
            proxy.silence_established();
        }
        Self(proxies)
    }

    pub(crate) fn proxies(&self) -> impl Iterator<Item = &Proxy> {
        self.0.iter().copied()
    }
}

impl Drop for Silence<'_> {
    fn drop(&mut self) {
        for proxy in &self.0 {
            proxy.close_silenced();
        }
    }
}

/// A connection that has answered a request.
#[derive(Debug)]
pub(crate) struct Established {
    stream: TcpStream,
    request: &'static [u8],
}

impl Established {
    /// Connects and asks; absent if no answer came within `within`.
    pub(crate) async fn open(addr: SocketAddr, request: &'static [u8], within: Duration) -> Option<Self> {
        let connect = async {
            let mut stream = TcpStream::connect(addr).await?;
            ask(&mut stream, request).await?;
            std::io::Result::Ok(stream)
        };
        let stream = timeout(within, connect).await.ok()?.ok()?;
        Some(Self { stream, request })
    }

    /// No byte and no end answers the same request within `within`.
    pub(crate) async fn stays_silent(mut self, within: Duration) -> bool {
        timeout(within, ask(&mut self.stream, self.request)).await.is_err()
    }
}

/// No byte is answered to `request` at this address within `within`. A refused connection is an answer.
pub(crate) async fn is_silent(addr: SocketAddr, request: &[u8], within: Duration) -> bool {
    let exchange = async {
        let mut stream = TcpStream::connect(addr).await?;
        ask(&mut stream, request).await
    };
    timeout(within, exchange).await.is_err()
}

/// Sends `request`, and reads what is answered first.
async fn ask(stream: &mut TcpStream, request: &[u8]) -> std::io::Result<()> {
    stream.write_all(request).await?;
    stream.read_buf(&mut Vec::with_capacity(LONGEST_ANSWER)).await.map(drop)
}
