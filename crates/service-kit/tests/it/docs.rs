//! The OpenAPI document and its page, without network access.

use service_kit::docs;
use utoipa::{OpenApi as _, openapi::OpenApi};

use crate::server::Server;

#[derive(utoipa::OpenApi)]
#[openapi(info(title = "things"))]
struct Document;

fn document() -> OpenApi {
    Document::openapi()
}

#[tokio::test]
async fn the_document_is_served_unchanged() {
    let server = Server::start(docs::pages(document())).await;
    let answer: serde_json::Value = server.get(docs::DOCUMENT).await.json();
    assert_eq!(answer, serde_json::to_value(document()).expect("JSON"));
}

#[tokio::test]
async fn the_page_loads_nothing_from_the_network() {
    let server = Server::start(docs::pages(document())).await;
    let page = server.get("/docs/").await.text;
    assert!(page.contains("swagger-ui") && !page.contains("http://") && !page.contains("https://"), "{page}");
    for part in ["/docs/swagger-ui-bundle.js", "/docs/swagger-ui.css", "/docs/swagger-initializer.js"] {
        assert_eq!(server.get(part).await.status, 200, "{part}");
    }
    let settings = server.get("/docs/swagger-initializer.js").await.text;
    assert!(settings.contains("\"validatorUrl\": \"none\""), "{settings}");
}
