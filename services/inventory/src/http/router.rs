//! Every route of the inventory service, on one page. Paths and documentation are at the handlers;
//! `service_kit::serve` adds `/livez`, `/readyz`, `/metrics`, limits and fallbacks.

use std::sync::Arc;

use axum::{
    Router,
    middleware::{from_fn, from_fn_with_state},
    routing::post,
};
use service_kit::{auth::require_bearer, deadline, docs, message_routes};
use utoipa::openapi::OpenApi;
use utoipa_axum::{router::OpenApiRouter, routes};

use crate::http::{batches, lab, protocol, reservations, state::AppState, stock};

const TITLE: &str = "Holdfast: inventory";
const DESCRIPTION: &str = "Owns stock: registers fencing tokens, sets units aside, returns them. Internal: every route requires the bearer token. Every failure is a problem (RFC 9457) with a `code`. A request with `Deadline-Ms` is given up before that many milliseconds have passed, with 504.";

#[rustfmt::skip] // a table
fn routes() -> OpenApiRouter<Arc<AppState>> {
    OpenApiRouter::with_openapi(docs::document_with_bearer(TITLE, DESCRIPTION))
        .routes(routes!(stock::list_stock)) //                                     GET  /v1/stock
        .routes(routes!(stock::put_stock, stock::show_stock)) //              PUT, GET  /v1/stock/{sku}
        .routes(routes!(protocol::claim)) //                                       POST /v1/claims
        .routes(routes!(protocol::reserve, reservations::find_reservation)) //     POST, GET /v1/reservations
        .routes(routes!(batches::reserve_batch)) //                                POST /v1/reservations/batch
        .routes(routes!(reservations::show_reservation)) //                        GET  /v1/reservations/{id}
        .routes(routes!(reservations::confirm)) //                                 POST /v1/reservations/{id}/confirm
        .routes(routes!(reservations::cancel)) //                                  POST /v1/reservations/{id}/cancel
}

/// The routes of the service. All of them require the bearer token, since only services call them; the
/// documentation is public.
pub fn router(state: Arc<AppState>) -> Router {
    let token = state.token.clone();
    let (routes, document) = routes().split_for_parts();
    let lab = Router::new()
        .route("/v1/lab/pauses", post(lab::arm).get(lab::pauses).delete(lab::disarm))
        .route("/v1/lab/pauses/resume", post(lab::resume))
        .merge(message_routes::routes());
    let routes = if state.lab.is_some() { routes.merge(lab) } else { routes };
    let routes = routes.layer(from_fn(deadline::enforce)).layer(from_fn_with_state(token, require_bearer));
    routes.with_state(state).merge(docs::pages(document))
}

/// The OpenAPI document, as `/openapi.json` serves it; a test compares it with `docs/openapi/inventory.json`. The
/// lab's routes are not in it.
pub fn document() -> OpenApi {
    routes().into_openapi()
}
