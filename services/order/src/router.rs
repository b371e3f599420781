//! Every call of the order service, on one page. Paths and documentation stand
//! at the handlers; `service_kit::serve` adds `/livez`, `/readyz`, `/metrics`,
//! limits and fallbacks.

use axum::{Router, routing::post};
use service_kit::docs;
use utoipa::{OpenApi as _, openapi::OpenApi};
use utoipa_axum::{router::OpenApiRouter, routes};

use crate::{app::App, lab, openapi, orders_http};

fn calls() -> OpenApiRouter<App> {
    OpenApiRouter::with_openapi(openapi::Base::openapi())
        .routes(routes!(orders_http::place)) //   POST /v1/orders
        .routes(routes!(orders_http::show)) //    GET  /v1/orders/{id}
        .routes(routes!(orders_http::confirm)) // POST /v1/orders/{id}/confirm
        .routes(routes!(orders_http::cancel)) //  POST /v1/orders/{id}/cancel
}

/// The service's own calls and their documentation.
pub fn router(app: App) -> Router {
    let (calls, document) = calls().split_for_parts();
    let lab = Router::new().route("/v1/lab/pauses", post(lab::arm).delete(lab::disarm));
    let calls = if app.lab { calls.merge(lab) } else { calls };
    calls.with_state(app).merge(docs::pages(document))
}

/// What `/openapi.json` says.
pub fn document() -> OpenApi {
    calls().into_openapi()
}
