//! Every call of the inventory service, on one page. Paths and documentation stand at the handlers;
//! `service_kit::serve` adds `/livez`, `/readyz`, `/metrics`, limits and fallbacks.

use axum::{Router, routing::post};
use service_kit::{auth::require_bearer, docs};
use utoipa::{OpenApi as _, openapi::OpenApi};
use utoipa_axum::{router::OpenApiRouter, routes};

use crate::{app::App, batch_http as batch, lab_http, openapi, reservations_http as reservations, stock_http as stock};

#[rustfmt::skip] // a table
fn calls() -> OpenApiRouter<App> {
    OpenApiRouter::with_openapi(openapi::Base::openapi())
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
    calls.layer(require_bearer(token)).with_state(app).merge(docs::pages(document))
}

/// What `/openapi.json` says.
pub fn document() -> OpenApi {
    calls().into_openapi()
}
