//! The OpenAPI document of a service, and the page to browse it without any
//! network. What the document says is the service's business.

use axum::{Json, Router, routing::get};
use utoipa::openapi::OpenApi;
use utoipa_swagger_ui::{Config, SwaggerUi};

/// Where the document is served.
pub const DOCUMENT: &str = "/openapi.json";
/// Where it can be browsed.
pub const PAGE: &str = "/docs";

/// [`DOCUMENT`] and [`PAGE`], for everybody: no credentials are asked for.
pub fn pages(document: OpenApi) -> Router {
    // The validator would be asked over the network.
    let config = Config::from(DOCUMENT).validator_url("none");
    let page = SwaggerUi::new(PAGE).config(config);
    Router::new().route(DOCUMENT, get(move || async move { Json(document) })).merge(page)
}
