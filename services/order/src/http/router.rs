//! Every route of the order service, on one page. Paths and documentation are
//! at the handlers; `service_kit::serve` adds `/livez`, `/readyz`, `/metrics`,
//! limits and fallbacks.

use std::sync::Arc;

use axum::{
    Router,
    routing::{get, post},
};
use service_kit::{docs, message_routes};
use utoipa::openapi::OpenApi;
use utoipa_axum::{router::OpenApiRouter, routes};

use crate::http::{
    lab::{self, Lab},
    orders::{self, OrdersApi},
};

const TITLE: &str = "Holdfast: orders";
const ABOUT: &str = "Places orders under a distributed lock. Every failure is a problem (RFC 9457) with a `code`.";

fn routes() -> OpenApiRouter<Arc<OrdersApi>> {
    OpenApiRouter::with_openapi(docs::document(TITLE, ABOUT))
        .routes(routes!(orders::place)) //   POST /v1/orders
        .routes(routes!(orders::show)) //    GET  /v1/orders/{id}
        .routes(routes!(orders::confirm)) // POST /v1/orders/{id}/confirm
        .routes(routes!(orders::cancel)) //  POST /v1/orders/{id}/cancel
}

/// The routes of the service and their documentation; with `lab`, those of the lab too.
pub fn router(api: Arc<OrdersApi>, lab: Option<Lab>) -> Router {
    let (routes, document) = routes().split_for_parts();
    routes.with_state(api).merge(lab.map(lab_routes).unwrap_or_default()).merge(docs::pages(document))
}

fn lab_routes(lab: Lab) -> Router {
    Router::new()
        .route("/v1/lab/pauses", post(lab::arm_pause).delete(lab::disarm_pauses))
        .route("/v1/lab/slow-payments", post(lab::slow_payments).delete(lab::stop_slow_payments))
        .route("/v1/lab/strategies", get(lab::strategies))
        .merge(message_routes::routes())
        .with_state(lab)
}

/// What `/openapi.json` serves; a test compares it with `docs/openapi/order.json`.
pub fn document() -> OpenApi {
    routes().into_openapi()
}
