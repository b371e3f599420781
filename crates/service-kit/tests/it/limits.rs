//! More concurrent requests than the limit.

use std::sync::Arc;

use axum::{Router, routing::get};
use service_kit::{limits::Limits, serve};
use tokio::sync::Semaphore;

use crate::server::Server;

/// A server with one permit. A request signals `entered` and keeps the permit until `let_go` has one.
struct OnePermit {
    server: Server,
    entered: Arc<Semaphore>,
    let_go: Arc<Semaphore>,
}

impl OnePermit {
    async fn start() -> Self {
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
        let limits = Limits { concurrency: 1, ..Limits::default() };
        let server = Server::with(router, limits, serve::DRAIN).await;
        Self { server, entered, let_go }
    }

    fn send(&self) -> tokio::task::JoinHandle<reqwest::Result<reqwest::Response>> {
        let (http, url) = (self.server.http.clone(), self.server.url("/v1/work"));
        tokio::spawn(async move { http.get(url).send().await })
    }

    async fn entered(&self) {
        self.entered.acquire().await.expect("never closed").forget();
    }
}

#[tokio::test]
async fn a_request_beyond_the_limit_is_429_and_retryable() {
    let one = OnePermit::start().await;
    let first = one.send();
    one.entered().await;

    let reply = one.server.get("/v1/work").await;
    assert_eq!(reply.problem(429, "overloaded")["retryable"], true);
    assert_eq!(reply.header("retry-after"), "1");

    one.let_go.add_permits(10);
    let first = first.await.expect("no panic").expect("a reply");
    assert_eq!(first.text().await.expect("a whole reply"), "done");
    assert_eq!(one.server.get("/v1/work").await.text, "done");
}

#[tokio::test]
async fn probes_and_metrics_are_answered_at_the_limit() {
    let one = OnePermit::start().await;
    let _first = one.send();
    one.entered().await;
    for path in ["/livez", "/readyz", "/metrics"] {
        assert_eq!(one.server.get(path).await.status, 200, "{path}");
    }
}

#[tokio::test]
async fn a_caller_that_hangs_up_frees_its_permit() {
    let one = OnePermit::start().await;
    let first = one.send();
    one.entered().await;
    first.abort();
    // The server notices the closed connection some time later.
    let second = loop {
        let mut reply = one.send();
        tokio::select! {
            () = one.entered() => break reply,
            refused = &mut reply => {
                let refused = refused.expect("no panic").expect("a reply");
                assert_eq!(refused.status(), 429);
            }
        }
    };
    one.let_go.add_permits(10);
    let second = second.await.expect("no panic").expect("a reply");
    assert_eq!(second.status(), 200);
}
