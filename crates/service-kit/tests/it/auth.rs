//! Who gets in.

use axum::{Router, middleware::from_fn_with_state, routing::get};
use service_kit::auth::{BearerToken, require_bearer};

use crate::server::{Reply, Server};

async fn guarded_by(token: &str) -> Server {
    let guarded = Router::new().route("/v1/stock", get(async || "stock"));
    let open = Router::new().route("/openapi.json", get(async || "open"));
    Server::start(open.merge(guarded.route_layer(from_fn_with_state(BearerToken::new(token), require_bearer)))).await
}

async fn offer(server: &Server, authorization: &str) -> Reply {
    let get = server.http.get(server.url("/v1/stock"));
    Reply::of(get.header("authorization", authorization)).await
}

#[tokio::test]
async fn the_right_token_gets_in() {
    let server = guarded_by("s3cret").await;
    assert_eq!(offer(&server, "Bearer s3cret").await.text, "stock");
    assert_eq!(offer(&server, "bearer s3cret").await.text, "stock");
}

#[tokio::test]
async fn anything_else_is_401_and_names_the_scheme() {
    let server = guarded_by("s3cret").await;
    let wrong = [
        "",
        "Bearer",
        "Bearer ",
        "Bearer s3cre",
        "Bearer s3crets",
        "Bearer S3CRET",
        "Bearer  s3cret",
        "Basic s3cret",
        "s3cret",
    ];
    for authorization in wrong {
        let reply = offer(&server, authorization).await;
        reply.problem(401, "unauthorized");
        assert_eq!(reply.header("www-authenticate"), "Bearer", "{authorization:?}");
    }
    server.get("/v1/stock").await.problem(401, "unauthorized");
    assert_eq!(server.get("/openapi.json").await.text, "open");
}

#[tokio::test]
async fn an_empty_token_lets_nobody_in() {
    let server = guarded_by("").await;
    for authorization in ["Bearer ", "Bearer", ""] {
        offer(&server, authorization).await.problem(401, "unauthorized");
    }
}

#[test]
fn a_token_is_not_shown() {
    let shown = format!("{:?}", BearerToken::new("s3cret"));
    assert!(!shown.contains("s3cret"), "{shown}");
}
