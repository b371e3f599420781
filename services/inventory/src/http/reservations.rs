//! The handlers of reservations, and the shapes they speak. What a request means is decided in `stock`, what
//! happens to it in `stock_db` and `changes`.

use std::collections::BTreeMap;

use axum::{
    Json as Body,
    extract::State,
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse, Response},
};
use serde::{Deserialize, Serialize};
use service_kit::{
    docs::{CommonAuthErrors, CommonBodyErrors, CommonErrors},
    extract::{Json, Path, Query},
    problem::Problem,
};
use time::OffsetDateTime;
use utoipa::{IntoParams, ToSchema};
use uuid::Uuid;

use crate::{
    app::App,
    domain::error::StockError,
    domain::stock::{LineRequest, MAX_QUANTITY, MAX_TOKEN, ReserveRequest},
    http::stock::{check_line_count, flatten_join, is_sku, parse_sku, strategy},
    store::{ReservationLine, StoredReservation},
    strategy::{Strategy, WriteCheck},
};

/// Units to set aside.
#[derive(Debug, Deserialize, ToSchema, garde::Validate)]
#[serde(deny_unknown_fields)]
pub struct Reserve {
    /// For which order; one reservation each.
    #[garde(skip)]
    order_id: Uuid,
    /// What; duplicates of one SKU are summed.
    #[garde(length(min = 1), dive)]
    #[schema(min_items = 1, max_items = 100)]
    lines: Vec<ReserveLine>,
    /// How long.
    #[garde(range(min = 1, max = 31_536_000))]
    #[schema(minimum = 1, maximum = 31_536_000)]
    hold_seconds: i64,
}

/// Units of one SKU.
#[derive(Debug, Deserialize, ToSchema, garde::Validate)]
#[serde(deny_unknown_fields)]
pub struct ReserveLine {
    /// Which; 1 to 64 letters, digits, `_` or `-`.
    #[garde(custom(is_sku))]
    #[schema(pattern = "^[A-Za-z0-9_-]{1,64}$")]
    sku: String,
    /// How many.
    #[garde(range(min = 1, max = MAX_QUANTITY))]
    #[schema(minimum = 1, maximum = 1_000_000)]
    quantity: i64,
    /// Required by strategies with tokens, refused by the others.
    #[garde(inner(range(min = 1, max = MAX_TOKEN)))]
    #[schema(minimum = 1, maximum = 9_007_199_254_740_991_i64)]
    fencing_token: Option<i64>,
    /// What the decision was made on; required where the write is computed from it.
    #[garde(inner(range(min = 0)))]
    #[schema(minimum = 0)]
    observed_available: Option<i64>,
    /// Likewise; required by `optimistic`, which writes only if it is still the latest.
    #[garde(inner(range(min = 0)))]
    #[schema(minimum = 0)]
    observed_version: Option<i64>,
}

/// Which order.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct OfOrder {
    /// As it was reserved for.
    order_id: Uuid,
}

/// A reservation as it stands.
#[derive(Debug, Serialize, ToSchema)]
pub struct ReservationView {
    /// Its id.
    reservation_id: Uuid,
    /// For which order.
    order_id: Uuid,
    /// `held` until it is one of the others, for good.
    #[schema(value_type = ReservationStatus)]
    status: String,
    /// When the hold ends.
    #[serde(with = "time::serde::rfc3339")]
    #[schema(value_type = String, format = DateTime)]
    expires_at: OffsetDateTime,
    /// In SKU order, each once.
    lines: Vec<ReservationLine>,
}

/// Where a reservation stands.
#[derive(Debug, ToSchema)]
#[schema(rename_all = "lowercase")]
#[expect(dead_code, reason = "a shape for the schema; the database knows the values")]
enum ReservationStatus {
    Held,
    Confirmed,
    Cancelled,
    Expired,
}

impl From<StoredReservation> for ReservationView {
    fn from(stored: StoredReservation) -> Self {
        let StoredReservation { id, order_id, status, fingerprint: _, expires_at, lines } = stored;
        Self { reservation_id: id, order_id, status, expires_at, lines: lines.0 }
    }
}

/// Sets units aside for an order. Sent again with the same lines, it is answered with what the first one did.
#[utoipa::path(
    post,
    path = "/v1/reservations",
    params(("Lock-Strategy" = Option<Strategy>, Header, description = "How the order is guarded; redlock-fenced if it is not said, unsafe ones only where the lab is switched on")),
    request_body = Reserve,
    responses(
        (status = 201, description = "Held", body = ReservationView, headers(("Location" = String))),
        CommonErrors,
        CommonBodyErrors,
        CommonAuthErrors,
        (status = 403, description = "strategy_not_allowed", content_type = "application/problem+json", body = Problem),
        (status = 404, description = "not_found: an unknown SKU", content_type = "application/problem+json", body = Problem),
        (status = 409, description = "out_of_stock, stale_fencing_token, token_source_mismatch, stale_version (optimistic: somebody wrote since), invalid_state (the order has another reservation)", content_type = "application/problem+json", body = Problem),
        (status = 422, description = "validation_failed, strategy_not_allowed", content_type = "application/problem+json", body = Problem),
    )
)]
pub async fn reserve(
    State(app): State<App>,
    headers: HeaderMap,
    Json(reserve): Json<Reserve>,
) -> Result<Response, StockError> {
    check_line_count(reserve.lines.len(), app.max_lines)?;
    let strategy = strategy(&headers, app.lab.is_some())?;
    let request = request(reserve, strategy)?;
    let writer = app.clone();
    let written = app.spawn_write(async move {
        let parked = writer.lab.as_ref().and_then(|lab| lab.pause(&request));
        let result = writer.db.reserve(&request).await;
        if let Some(lab) = &writer.lab {
            lab.ended(parked, &result);
        }
        result
    });
    let stored: ReservationView = flatten_join(written.await)?.into();
    let location = [(header::LOCATION, format!("/v1/reservations/{}", stored.reservation_id))];
    Ok((StatusCode::CREATED, location, Body(stored)).into_response())
}

fn request(reserve: Reserve, strategy: Strategy) -> Result<ReserveRequest, StockError> {
    let Reserve { order_id, lines, hold_seconds } = reserve;
    let mut request = ReserveRequest { order_id, strategy, lines: BTreeMap::new(), hold_seconds };
    for (at, line) in lines.into_iter().enumerate() {
        let line_request = line_request(at, &line, strategy)?;
        request.add(at, parse_sku(&line.sku)?, line_request)?;
    }
    Ok(request)
}

/// What the strategy does not look at is left out: it must not tell two lines apart.
fn line_request(at: usize, line: &ReserveLine, strategy: Strategy) -> Result<LineRequest, StockError> {
    let wrong = |field: &str, why: &str| StockError::Invalid(format!("/lines/{at}/{field}"), why.to_owned());
    let token = match (strategy.token_source(), line.fencing_token) {
        (Some(_), None) => return Err(wrong("fencing_token", "this strategy needs a token")),
        (None, Some(_)) => return Err(wrong("fencing_token", "this strategy has no tokens")),
        (_, token) => token,
    };
    let observed = match (strategy.check().writes_computed_value(), line.observed_available) {
        (true, None) => return Err(wrong("observed_available", "this strategy writes what was computed")),
        (true, observed) => observed,
        (false, _) => None,
    };
    let version = match (strategy.check(), line.observed_version) {
        (WriteCheck::Version, None) => return Err(wrong("observed_version", "this strategy compares versions")),
        (WriteCheck::Version, version) => version,
        (
            WriteCheck::Unfenced | WriteCheck::Textbook | WriteCheck::Fenced | WriteCheck::RowLock | WriteCheck::Guard,
            _,
        ) => None,
    };
    Ok(LineRequest { quantity: line.quantity, token, observed, version })
}

/// One reservation.
#[utoipa::path(
    get,
    path = "/v1/reservations/{id}",
    params(("id" = Uuid, Path, description = "As `Location` gave it")),
    responses(
        (status = 200, description = "As it stands", body = ReservationView),
        CommonErrors,
        CommonAuthErrors,
        (status = 404, description = "not_found", content_type = "application/problem+json", body = Problem),
    )
)]
pub async fn show_reservation(
    State(app): State<App>,
    Path(id): Path<Uuid>,
) -> Result<Body<ReservationView>, StockError> {
    Ok(Body(app.db.reservation(id).await?.into()))
}

/// The reservation of an order: how a caller learns what became of a write nobody answered.
#[utoipa::path(
    get,
    path = "/v1/reservations",
    params(OfOrder),
    responses(
        (status = 200, description = "As it stands", body = ReservationView),
        CommonErrors,
        CommonAuthErrors,
        (status = 404, description = "not_found", content_type = "application/problem+json", body = Problem),
        (status = 422, description = "validation_failed", content_type = "application/problem+json", body = Problem),
    )
)]
pub async fn find_reservation(
    State(app): State<App>,
    Query(of): Query<OfOrder>,
) -> Result<Body<ReservationView>, StockError> {
    Ok(Body(app.db.reservation_of(of.order_id).await?.into()))
}

/// Makes a hold final: the units are the customer's. Confirming twice is a success.
#[utoipa::path(
    post,
    path = "/v1/reservations/{id}/confirm",
    params(("id" = Uuid, Path, description = "As `Location` gave it")),
    responses(
        (status = 200, description = "Confirmed, now or before", body = ReservationView),
        CommonErrors,
        CommonAuthErrors,
        (status = 404, description = "not_found", content_type = "application/problem+json", body = Problem),
        (status = 409, description = "invalid_state: it was cancelled; reservation_expired: the hold has ended, swept or not", content_type = "application/problem+json", body = Problem),
    )
)]
pub async fn confirm(State(app): State<App>, Path(id): Path<Uuid>) -> Result<Body<ReservationView>, StockError> {
    let confirmed = app.clone().spawn_write(async move { app.changes.confirm(id).await });
    Ok(Body(flatten_join(confirmed.await)?.into()))
}

/// Gives a hold's units back, under the lock of its SKUs. Cancelling twice is a success.
#[utoipa::path(
    post,
    path = "/v1/reservations/{id}/cancel",
    params(("id" = Uuid, Path, description = "As `Location` gave it")),
    responses(
        (status = 200, description = "Cancelled, now or before", body = ReservationView),
        CommonErrors,
        CommonAuthErrors,
        (status = 404, description = "not_found", content_type = "application/problem+json", body = Problem),
        (status = 409, description = "invalid_state: it was confirmed or has expired; stale_fencing_token", content_type = "application/problem+json", body = Problem),
        (status = 503, description = "lock_timeout, lock_quorum_unavailable, dependency_unavailable", content_type = "application/problem+json", body = Problem),
    )
)]
pub async fn cancel(State(app): State<App>, Path(id): Path<Uuid>) -> Result<Body<ReservationView>, StockError> {
    let cancelled = app.clone().spawn_write(async move { app.changes.cancel(id).await });
    Ok(Body(flatten_join(cancelled.await)?.into()))
}
