//! `/v1/reservations`: reads, confirms and cancels reservations. `http/protocol.rs` makes them.

use std::sync::Arc;

use axum::{Json as Body, extract::State};
use serde::Deserialize;
use service_kit::{
    docs::{CommonAuthErrors, CommonErrors},
    extract::{Path, Query},
    problem::Problem,
};
use utoipa::IntoParams;
use uuid::Uuid;

use crate::{
    domain::{error::StockError, stock::Reservation},
    http::state::AppState,
};

/// The order of a reservation.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct OrderQuery {
    /// The `order_id` of the request that reserved.
    order_id: Uuid,
}

/// One reservation.
#[utoipa::path(
    get,
    path = "/v1/reservations/{id}",
    params(("id" = Uuid, Path, description = "The id in `Location`")),
    responses(
        (status = 200, description = "The current reservation", body = Reservation),
        CommonErrors,
        CommonAuthErrors,
        (status = 404, description = "not_found", content_type = "application/problem+json", body = Problem),
    )
)]
pub async fn show_reservation(
    State(state): State<Arc<AppState>>,
    Path(id): Path<Uuid>,
) -> Result<Body<Reservation>, StockError> {
    state.db.reservation(id).await.map(Body)
}

/// The reservation of an order. It shows a caller whether a write without an answer was committed.
#[utoipa::path(
    get,
    path = "/v1/reservations",
    params(OrderQuery),
    responses(
        (status = 200, description = "The current reservation", body = Reservation),
        CommonErrors,
        CommonAuthErrors,
        (status = 404, description = "not_found", content_type = "application/problem+json", body = Problem),
        (status = 410, description = "past_retention: the order is so old that its reservation may have been deleted", content_type = "application/problem+json", body = Problem),
        (status = 422, description = "validation_failed", content_type = "application/problem+json", body = Problem),
    )
)]
pub async fn find_reservation(
    State(state): State<Arc<AppState>>,
    Query(query): Query<OrderQuery>,
) -> Result<Body<Reservation>, StockError> {
    state.db.reservation_of_order(query.order_id).await.map(Body)
}

/// Makes a hold final: the units belong to the order. Confirming twice is a success.
#[utoipa::path(
    post,
    path = "/v1/reservations/{id}/confirm",
    params(("id" = Uuid, Path, description = "The id in `Location`")),
    responses(
        (status = 200, description = "Confirmed, by this request or an earlier one", body = Reservation),
        CommonErrors,
        CommonAuthErrors,
        (status = 404, description = "not_found", content_type = "application/problem+json", body = Problem),
        (status = 409, description = "invalid_state: the reservation was cancelled; reservation_expired: the hold has ended, swept or not", content_type = "application/problem+json", body = Problem),
    )
)]
pub async fn confirm(
    State(state): State<Arc<AppState>>,
    Path(id): Path<Uuid>,
) -> Result<Body<Reservation>, StockError> {
    let changes = state.changes.clone();
    state.run_write(async move { changes.confirm(id).await }).await.map(Body)
}

/// Returns the units of a hold to stock, under the locks of its SKUs. Cancelling twice is a success.
#[utoipa::path(
    post,
    path = "/v1/reservations/{id}/cancel",
    params(("id" = Uuid, Path, description = "The id in `Location`")),
    responses(
        (status = 200, description = "Cancelled, by this request or an earlier one", body = Reservation),
        CommonErrors,
        CommonAuthErrors,
        (status = 404, description = "not_found", content_type = "application/problem+json", body = Problem),
        (status = 409, description = "invalid_state: the reservation was confirmed or has expired; stale_fencing_token", content_type = "application/problem+json", body = Problem),
        (status = 503, description = "lock_timeout, lock_quorum_unavailable, dependency_unavailable", content_type = "application/problem+json", body = Problem),
    )
)]
pub async fn cancel(State(state): State<Arc<AppState>>, Path(id): Path<Uuid>) -> Result<Body<Reservation>, StockError> {
    let changes = state.changes.clone();
    state.run_write(async move { changes.cancel(id).await }).await.map(Body)
}
