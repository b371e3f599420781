//! The OpenAPI 3.1 document, generated from the handlers and their types, and
//! the page that browses it without any network. Checked in as
//! `docs/openapi/order.json`; a test compares the two.

use axum::{Json, Router, routing::get};
use service_kit::problem::Problem;
use utoipa::{OpenApi, openapi::OpenApi as Document};
use utoipa_swagger_ui::{Config, SwaggerUi};

/// Where the document is served.
pub const PATH: &str = "/openapi.json";

/// The parts that no handler tells.
#[derive(Debug, OpenApi)]
#[openapi(
    info(
        title = "Holdfast: orders",
        description = "Places orders under a distributed lock. Every failure is a problem (RFC 9457) with a `code`.",
        license(name = "MIT OR Apache-2.0", identifier = "MIT OR Apache-2.0")
    ),
    components(schemas(Problem))
)]
pub struct Base;

/// `/openapi.json`, and `/docs` to browse it.
pub fn pages(document: Document) -> Router {
    // The validator would be asked over the network.
    let config = Config::from(PATH).validator_url("none");
    let browse = SwaggerUi::new("/docs").config(config);
    Router::new().route(PATH, get(move || async move { Json(document) })).merge(browse)
}
