//! Connections on which traffic is held back, and how that is observed.

use std::net::SocketAddr;
use std::time::Duration;

use testbed::Proxy;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::faults::injection::Injection;

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

/// No byte is answered to `request` at this address within `within`. A refused connection is an answer.
pub(crate) async fn is_silent(addr: SocketAddr, request: &[u8], within: Duration) -> bool {
    let exchange = async {
        let mut stream = TcpStream::connect(addr).await?;
        stream.write_all(request).await?;
        stream.read_u8().await
    };
    timeout(within, exchange).await.is_err()
}
