//! `/v1/reservations`: sets units aside for an order, and confirms, cancels and reads reservations.

use axum::{
    Json as Body,
    extract::State,
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse, Response},
};
use contract::Strategy;
use serde::Deserialize;
use service_kit::{
    docs::{CommonAuthErrors, CommonBodyErrors, CommonErrors},
    extract::{Json, Path, Query},
    problem::Problem,
};
use utoipa::{IntoParams, ToSchema};
use uuid::Uuid;

use crate::{
    domain::{
        error::StockError,
        reservation::{Reservation, ReserveLine, ReserveRequest},
    },
    http::state::AppState,
    lab::{self, PendingWrite, WriteKind},
};

/// Units to set aside for an order.
#[derive(Debug, Deserialize, ToSchema, garde::Validate)]
#[serde(deny_unknown_fields)]
pub struct Reserve {
    /// The order; it has at most one reservation.
    #[garde(skip)]
    order_id: Uuid,
    /// Lines of the same SKU are summed.
    #[garde(length(min = 1), dive)]
    #[schema(min_items = 1, max_items = 100)]
    lines: Vec<ReserveLine>,
    /// How long the units are held, in seconds.
    #[garde(range(min = 1, max = 31_536_000))]
    #[schema(minimum = 1, maximum = 31_536_000)]
    hold_seconds: i64,
}

/// The order of a reservation.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct OrderQuery {
    /// The `order_id` of the request that reserved.
    order_id: Uuid,
}

/// Sets units aside for an order. The same request sent again returns the reservation of the first one.
#[utoipa::path(
    post,
    path = "/v1/reservations",
    params(("Lock-Strategy" = Option<Strategy>, Header, description = "How the order guards stock; redlock-fenced by default, unsafe ones only where the lab is on")),
    request_body = Reserve,
    responses(
        (status = 201, description = "The units are held", body = Reservation, headers(("Location" = String))),
        CommonErrors,
        CommonBodyErrors,
        CommonAuthErrors,
        (status = 403, description = "strategy_not_allowed", content_type = "application/problem+json", body = Problem),
        (status = 404, description = "not_found: the SKU does not exist", content_type = "application/problem+json", body = Problem),
        (status = 409, description = "out_of_stock, stale_fencing_token, token_source_mismatch, stale_version (optimistic: the row was written since it was read), invalid_state (the order has a reservation for other units)", content_type = "application/problem+json", body = Problem),
        (status = 422, description = "validation_failed, strategy_not_allowed", content_type = "application/problem+json", body = Problem),
    )
)]
pub async fn reserve(
    State(state): State<AppState>,
    headers: HeaderMap,
    Json(reserve): Json<Reserve>,
) -> Result<Response, StockError> {
    state.check_line_count(reserve.lines.len())?;
    let strategy = state.strategy(&headers)?;
    let request = ReserveRequest::new(reserve.order_id, strategy, reserve.lines, reserve.hold_seconds)?;
    let (db, lab) = (state.db.clone(), state.lab.clone());
    let write = async move {
        let pending = || PendingWrite {
            kind: WriteKind::Reserve,
            order_id: Some(request.order_id),
            strategy: request.strategy.name(),
            tokens: request.lines.iter().map(|(sku, line)| (sku.clone(), line.fencing_token)).collect(),
        };
        lab::send_write(lab.as_ref(), pending, db.reserve(&request)).await
    };
    let reservation = state.run_write(write).await?;
    let location = [(header::LOCATION, format!("/v1/reservations/{}", reservation.reservation_id))];
    Ok((StatusCode::CREATED, location, Body(reservation)).into_response())
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
    State(state): State<AppState>,
    Path(id): Path<Uuid>,
) -> Result<Body<Reservation>, StockError> {
    state.db.reservation(id).await.map(Body)
}

/// The reservation of an order. It tells a caller whether a write without an answer was committed.
#[utoipa::path(
    get,
    path = "/v1/reservations",
    params(OrderQuery),
    responses(
        (status = 200, description = "The current reservation", body = Reservation),
        CommonErrors,
        CommonAuthErrors,
        (status = 404, description = "not_found", content_type = "application/problem+json", body = Problem),
        (status = 422, description = "validation_failed", content_type = "application/problem+json", body = Problem),
    )
)]
pub async fn find_reservation(
    State(state): State<AppState>,
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
pub async fn confirm(State(state): State<AppState>, Path(id): Path<Uuid>) -> Result<Body<Reservation>, StockError> {
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
pub async fn cancel(State(state): State<AppState>, Path(id): Path<Uuid>) -> Result<Body<Reservation>, StockError> {
    let changes = state.changes.clone();
    state.run_write(async move { changes.cancel(id).await }).await.map(Body)
}
