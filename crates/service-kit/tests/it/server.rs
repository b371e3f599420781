//! A server for each test, and replies with checks.

use std::{net::SocketAddr, time::Duration};

use axum::Router;
use reqwest::{
    Client, RequestBuilder, StatusCode,
    header::{CONTENT_TYPE, HeaderMap},
};
use serde_json::Value;
use service_kit::{limits::Limits, serve};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    sync::oneshot,
    task::JoinHandle,
};

/// A server on a free port, until it is dropped or stopped.
pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    pub(crate) http: Client,
    stop: Option<oneshot::Sender<()>>,
    pub(crate) served: JoinHandle<std::io::Result<()>>,
}

impl Server {
    pub(crate) async fn start(router: Router) -> Self {
        Self::with(router, Limits::default(), serve::DRAIN).await
    }

    pub(crate) async fn with(router: Router, limits: Limits, drain: Duration) -> Self {
        let ready = || Box::pin(async { Ok(()) }) as serve::Readiness;
        Self::ready_if(ready, router, limits, drain).await
    }

    pub(crate) async fn ready_if(
        ready: impl Fn() -> serve::Readiness + Clone + Send + Sync + 'static,
        router: Router,
        limits: Limits,
        drain: Duration,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let (stop, stopped) = oneshot::channel::<()>();
        let shutdown = async { drop(stopped.await) };
        let served = tokio::spawn(serve::serve_and_drain(listener, router, ready, limits, shutdown, drain));
        let http = Client::builder().no_proxy().build().expect("a client");
        let stop = Some(stop);
        Self { address, http, stop, served }
    }

    /// Starts the shutdown; `served` resolves when it is complete.
    pub(crate) fn ask_to_stop(&mut self) {
        drop(self.stop.take());
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    pub(crate) async fn get(&self, path: &str) -> Reply {
        Reply::of(self.http.get(self.url(path))).await
    }

    pub(crate) async fn post(&self, path: &str, body: impl Into<reqwest::Body>) -> Reply {
        let post = self.http.post(self.url(path)).body(body);
        Reply::of(post.header(CONTENT_TYPE, "application/json")).await
    }

    pub(crate) async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.address).await.expect("a connection")
    }

    /// Writes these bytes and reads until the server closes the connection.
    pub(crate) async fn raw(&self, request: &str) -> String {
        let mut connection = self.connect().await;
        let sent = connection.write_all(request.as_bytes()).await;
        sent.expect("the request was sent");
        let mut reply = String::new();
        let read = connection.read_to_string(&mut reply).await;
        read.expect("a reply, then the end");
        reply
    }
}

/// A response, read to its end.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) text: String,
}

impl Reply {
    pub(crate) async fn of(request: RequestBuilder) -> Self {
        let response = request.send().await.expect("a reply");
        let (status, headers) = (response.status(), response.headers().clone());
        let text = response.text().await.expect("a whole reply");
        Self { status, headers, text }
    }

    pub(crate) fn header(&self, name: &str) -> &str {
        let value = self.headers.get(name).map(|value| value.to_str());
        value.and_then(Result::ok).unwrap_or_default()
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.text).expect("JSON")
    }

    /// The body, checked to be a complete problem with this status and code.
    #[track_caller]
    pub(crate) fn problem(&self, status: u16, code: &str) -> Value {
        assert_eq!(self.status, status, "{}", self.text);
        assert_eq!(self.header("content-type"), "application/problem+json");
        let problem = self.json();
        assert_eq!(problem["status"], status);
        assert_eq!(problem["code"], code);
        assert_eq!(problem["type"], format!("/problems/{code}"));
        for text in ["title", "detail", "instance"] {
            let text_of_member = problem[text].as_str().unwrap_or_default();
            assert!(!text_of_member.is_empty(), "no {text} in {problem}");
        }
        assert!(problem["retryable"].is_boolean(), "{problem}");
        let trace_id = problem["trace_id"].as_str().unwrap_or_default();
        assert!(trace_id.len() == 32, "no trace id in {problem}");
        problem
    }
}
