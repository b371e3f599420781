//! Every call of the order service, on one page. Paths and documentation stand
//! at the handlers; `service_kit::serve` adds `/livez`, `/readyz`, `/metrics`,
//! limits and fallbacks.

use axum::{Router, routing::post};
use service_kit::docs;
use utoipa::openapi::OpenApi;
use utoipa_axum::{router::OpenApiRouter, routes};

use crate::app::App;
use crate::http::lab;
use crate::http::orders;

const TITLE: &str = "Holdfast: orders";
const ABOUT: &str = "Places orders under a distributed lock. Every failure is a problem (RFC 9457) with a `code`.";

fn calls() -> OpenApiRouter<App> {
    OpenApiRouter::with_openapi(docs::document(TITLE, ABOUT))
        .routes(routes!(orders::place)) //   POST /v1/orders
        .routes(routes!(orders::show)) //    GET  /v1/orders/{id}
        .routes(routes!(orders::confirm)) // POST /v1/orders/{id}/confirm
        .routes(routes!(orders::cancel)) //  POST /v1/orders/{id}/cancel
}

/// The service's own calls and their documentation.
pub fn router(app: App) -> Router {
    let (calls, document) = calls().split_for_parts();
    let lab = Router::new().route("/v1/lab/pauses", post(lab::arm).delete(lab::disarm));
    let calls = if app.lab { calls.merge(lab) } else { calls };
    calls.with_state(app).merge(docs::pages(document))
}

/// What `/openapi.json` says; a test compares it with `docs/openapi/order.json`.
pub fn document() -> OpenApi {
    calls().into_openapi()
}
