//! Every call of the inventory service, on one page. Paths and documentation stand at the handlers;
//! `service_kit::serve` adds `/livez`, `/readyz`, `/metrics`, limits and fallbacks.

use axum::{
    Router,
    middleware::{from_fn, from_fn_with_state},
    routing::post,
};
use service_kit::{auth::require_bearer, deadline, docs};
use utoipa::openapi::OpenApi;
use utoipa_axum::{router::OpenApiRouter, routes};

use crate::{app::App, batch_http as batch, lab_http, reservations_http as reservations, stock_http as stock};

const TITLE: &str = "Holdfast: inventory";
const ABOUT: &str = "Owns stock: registers fencing tokens, sets units aside, gives them back. Internal: every call wants the bearer token. Every failure is a problem (RFC 9457) with a `code`. A call that says with `Deadline-Ms` how long its answer is waited for is given up before that.";

#[rustfmt::skip] // a table
fn calls() -> OpenApiRouter<App> {
    OpenApiRouter::with_openapi(docs::document_with_bearer(TITLE, ABOUT))
        .routes(routes!(stock::list_stock)) //                                     GET  /v1/stock
        .routes(routes!(stock::put_stock, stock::show_stock)) //              PUT, GET  /v1/stock/{sku}
        .routes(routes!(stock::claim)) //                                          POST /v1/claims
        .routes(routes!(reservations::reserve, reservations::find_reservation)) // POST, GET /v1/reservations
        .routes(routes!(batch::reserve_batch)) //                                  POST /v1/reservations/batch
        .routes(routes!(reservations::show_reservation)) //                        GET  /v1/reservations/{id}
        .routes(routes!(reservations::confirm)) //                                 POST /v1/reservations/{id}/confirm
        .routes(routes!(reservations::cancel)) //                                  POST /v1/reservations/{id}/cancel
}

/// Every call wants the bearer token: no customer comes here. The documentation is for everybody.
pub fn router(app: App) -> Router {
    let token = app.token.clone();
    let (calls, document) = calls().split_for_parts();
    let lab = Router::new().route("/v1/lab/pauses", post(lab_http::arm).get(lab_http::pauses).delete(lab_http::disarm));
    let calls = if app.lab.is_some() { calls.merge(lab) } else { calls };
    let calls = calls.layer(from_fn(deadline::enforce)).layer(from_fn_with_state(token, require_bearer));
    calls.with_state(app).merge(docs::pages(document))
}

/// What `/openapi.json` says; a test compares it with `docs/openapi/inventory.json`. The laboratory's calls are not in it.
pub fn document() -> OpenApi {
    calls().into_openapi()
}
