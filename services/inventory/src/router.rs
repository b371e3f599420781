//! Every call of the inventory service, on one page. `service_kit::serve` adds `/livez`, `/readyz`,
//! `/metrics`, limits and fallbacks.

use axum::{
    Router,
    routing::{get, post, put},
};
use service_kit::auth::require_bearer;

use crate::{app::App, batch_http, lab_http, stock_http as http};

/// Every call wants the bearer token: no customer comes here.
pub fn router(app: App) -> Router {
    let token = app.token.clone();
    let calls = Router::new()
        .route("/v1/stock", get(http::list_stock))
        .route("/v1/stock/{sku}", put(http::put_stock).get(http::show_stock))
        .route("/v1/claims", post(http::claim))
        .route("/v1/reservations", post(http::reserve).get(http::find_reservation))
        .route("/v1/reservations/batch", post(batch_http::reserve_batch))
        .route("/v1/reservations/{id}", get(http::show_reservation));
    let lab = Router::new().route("/v1/lab/pauses", post(lab_http::arm).get(lab_http::pauses).delete(lab_http::disarm));
    let calls = if app.lab.is_some() { calls.merge(lab) } else { calls };
    calls.layer(require_bearer(token)).with_state(app)
}
