//! The OpenAPI 3.1 document, generated from the handlers and their types, and
//! the page that browses it without any network. Checked in as
//! `docs/openapi/order.json`; a test compares the two.

use axum::{Json, Router, routing::get};
use serde::Serialize;
use utoipa::{OpenApi, ToSchema, openapi::OpenApi as Document};
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
    components(schemas(ProblemBody, FieldErrorBody))
)]
pub struct Base;

/// Every failure, the framework's own rejections included.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Problem)]
pub struct ProblemBody {
    /// What kind, as a URI; `about:blank` says no more than the status.
    r#type: String,
    /// The kind in words.
    title: String,
    /// HTTP status.
    status: u16,
    /// This one in words.
    detail: String,
    /// Which request.
    instance: String,
    /// What kind, for programs.
    code: String,
    /// The same request may succeed later.
    retryable: bool,
    /// Where to look in logs and traces.
    trace_id: String,
    /// Every field that is wrong, for `validation_failed`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    errors: Vec<FieldErrorBody>,
    /// Which SKU, where there is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    sku: Option<String>,
    /// Units left, for `out_of_stock`.
    #[serde(skip_serializing_if = "Option::is_none")]
    available: Option<i64>,
    /// The token that was refused, for `stale_fencing_token`.
    #[serde(skip_serializing_if = "Option::is_none")]
    token: Option<u64>,
    /// The token that the storage has.
    #[serde(skip_serializing_if = "Option::is_none")]
    current: Option<u64>,
}

/// One field that is wrong.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = FieldError)]
pub struct FieldErrorBody {
    /// JSON pointer.
    pointer: String,
    /// What it must be.
    detail: String,
}

/// `/openapi.json`, and `/docs` to browse it.
pub fn pages(document: Document) -> Router {
    // The validator would be asked over the network.
    let config = Config::from(PATH).validator_url("none");
    let browse = SwaggerUi::new("/docs").config(config);
    Router::new()
        .route(PATH, get(move || async move { Json(document) }))
        .merge(browse)
}
