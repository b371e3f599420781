//! The handlers of the order service and the shapes they speak. What a request
//! means is decided in `order`, what happens to it in `placing`.

use axum::{
    extract::State,
    http::{HeaderMap, HeaderName, HeaderValue},
    response::{IntoResponse, Response},
};
use serde::{Deserialize, Serialize};
use service_kit::{
    docs::{CommonBodyErrors, CommonErrors},
    extract::{Json, Path},
    problem::Problem,
};
use utoipa::ToSchema;
use uuid::Uuid;

use crate::app::App;
use crate::domain::error::OrderError;
use crate::domain::order::{FieldError, OrderRequest, OrderStatus, Reservation};
use crate::inventory::client::Transition;
use crate::placement::lifecycle;
use crate::placement::service::PlacementResult;
use crate::placement::timings::Timings;
use crate::store::orders::{KeyedRequest, StoredOrder};
use crate::strategy::Strategy;

const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");
const LOCK_STRATEGY: HeaderName = HeaderName::from_static("lock-strategy");
const SERVER_TIMING: HeaderName = HeaderName::from_static("server-timing");
const LONGEST_KEY: usize = 255;

/// What a customer asks for.
#[derive(Debug, Deserialize, ToSchema, garde::Validate)]
#[garde(allow_unvalidated)] // `Wanted::parse` checks everything, against configured limits
#[serde(deny_unknown_fields)]
pub struct PlaceOrder {
    /// Who; 1 to 128 characters.
    #[schema(min_length = 1, max_length = 128)]
    customer: String,
    /// What; duplicates of one SKU are summed.
    #[schema(min_items = 1, max_items = 100)]
    lines: Vec<PlaceLine>,
}

/// One line of a request.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct PlaceLine {
    /// 1 to 64 letters, digits, `_` or `-`.
    #[schema(pattern = "^[A-Za-z0-9_-]{1,64}$")]
    sku: String,
    /// 1 to 1,000,000.
    #[schema(minimum = 1, maximum = 1_000_000)]
    quantity: i64,
}

/// An order as it is shown.
#[derive(Debug, Serialize, ToSchema)]
pub struct OrderView {
    /// Its id.
    id: Uuid,
    /// Who wanted it.
    customer: String,
    /// Where it stands.
    status: OrderStatus,
    /// How stock was guarded.
    strategy: Strategy,
    /// What was wanted, sorted by SKU, each once.
    lines: Vec<LineView>,
    /// What is set aside for it; absent until it is.
    #[serde(skip_serializing_if = "Option::is_none")]
    reservation: Option<Reservation>,
}

/// One line of an order.
#[derive(Debug, Serialize, ToSchema)]
pub struct LineView {
    /// What.
    sku: String,
    /// How many.
    quantity: i64,
}

impl From<StoredOrder> for OrderView {
    fn from(order: StoredOrder) -> Self {
        let StoredOrder { id, customer, status, strategy, lines, reservation } = order;
        let lines = lines.into_iter().map(|line| LineView { sku: line.sku.to_string(), quantity: line.quantity });
        Self { id, customer, status, strategy, lines: lines.collect(), reservation }
    }
}

/// Places an order.
#[utoipa::path(
    post,
    path = "/v1/orders",
    params(
        ("Idempotency-Key" = String, Header, description = "Names this order for good: the same key gets the same answer", min_length = 1, max_length = 255),
        ("Lock-Strategy" = Option<Strategy>, Header, description = "How stock is guarded; unsafe ones only where the lab is switched on"),
    ),
    request_body = PlaceOrder,
    responses(
        (status = 201, description = "Held", body = OrderView, headers(("Location" = String), ("Server-Timing" = String))),
        CommonErrors,
        CommonBodyErrors,
        (status = 400, description = "malformed_json, idempotency_key_missing", content_type = "application/problem+json", body = Problem),
        (status = 403, description = "strategy_not_allowed", content_type = "application/problem+json", body = Problem),
        (status = 404, description = "not_found: an unknown SKU", content_type = "application/problem+json", body = Problem),
        (status = 409, description = "out_of_stock, idempotency_in_progress, stale_fencing_token, token_source_mismatch, reservation_expired", content_type = "application/problem+json", body = Problem),
        (status = 422, description = "validation_failed, idempotency_key_reused, strategy_not_allowed", content_type = "application/problem+json", body = Problem),
        (status = 503, description = "lock_timeout, lock_quorum_unavailable, dependency_unavailable", content_type = "application/problem+json", body = Problem),
    )
)]
pub async fn place(
    State(app): State<App>,
    headers: HeaderMap,
    Json(body): Json<PlaceOrder>,
) -> Result<Response, OrderError> {
    let key = idempotency_key(&headers)?;
    let strategy = chosen_strategy(&headers, app.default_strategy, app.lab)?;
    app.placement.section().locks.of(strategy)?;
    let lines = body.lines.iter().map(|line| (line.sku.as_str(), line.quantity));
    let wanted = OrderRequest::parse(&body.customer, lines, app.limits).map_err(OrderError::Invalid)?;
    let traceparent = service_kit::trace::current_traceparent();
    let request = KeyedRequest { scope: "place-order", key, wanted, strategy, traceparent };

    // A client that hangs up must not leave an order half done.
    let placement = app.placement.clone();
    let placed = app.spawn(async move { placement.place(request).await }).await;
    Ok(match placed {
        Ok(PlacementResult::Final(answer, timings)) => timed(answer.into_response(), &timings),
        Ok(PlacementResult::Replayed(answer)) => answer.replayed(),
        Ok(PlacementResult::Retryable(error, timings)) => timed(error.into_response(), &timings),
        Err(_panicked) => return Err(OrderError::OutcomeUnknown),
    })
}

/// Shows an order.
#[utoipa::path(
    get,
    path = "/v1/orders/{id}",
    params(("id" = Uuid, Path, description = "As `Location` gave it")),
    responses(
        (status = 200, description = "The order", body = OrderView),
        CommonErrors,
        (status = 404, description = "not_found", content_type = "application/problem+json", body = Problem),
    )
)]
pub async fn show(State(app): State<App>, Path(id): Path<Uuid>) -> Result<Response, OrderError> {
    let order = app.placement.db.order(id).await?;
    Ok(axum::Json(OrderView::from(order)).into_response())
}

/// Makes a held order final.
#[utoipa::path(
    post,
    path = "/v1/orders/{id}/confirm",
    params(("id" = Uuid, Path, description = "As `Location` gave it")),
    responses(
        (status = 200, description = "Confirmed, now or before", body = OrderView),
        CommonErrors,
        (status = 404, description = "not_found", content_type = "application/problem+json", body = Problem),
        (status = 409, description = "invalid_state, reservation_expired", content_type = "application/problem+json", body = Problem),
    )
)]
pub async fn confirm(State(app): State<App>, Path(id): Path<Uuid>) -> Result<Response, OrderError> {
    conclude(&app, id, Transition::Confirm).await
}

/// Gives a held order's units back, and the money.
#[utoipa::path(
    post,
    path = "/v1/orders/{id}/cancel",
    params(("id" = Uuid, Path, description = "As `Location` gave it")),
    responses(
        (status = 200, description = "Cancelled, now or before", body = OrderView),
        CommonErrors,
        (status = 404, description = "not_found", content_type = "application/problem+json", body = Problem),
        (status = 409, description = "invalid_state, reservation_expired", content_type = "application/problem+json", body = Problem),
    )
)]
pub async fn cancel(State(app): State<App>, Path(id): Path<Uuid>) -> Result<Response, OrderError> {
    conclude(&app, id, Transition::Cancel).await
}

async fn conclude(app: &App, id: Uuid, transition: Transition) -> Result<Response, OrderError> {
    let placement = app.placement.clone();
    let concluding = app.spawn(async move { lifecycle::conclude(&placement, id, transition).await });
    let order = concluding.await.unwrap_or(Err(OrderError::OutcomeUnknown))?;
    Ok(axum::Json(OrderView::from(order)).into_response())
}

fn timed(mut response: Response, timings: &Timings) -> Response {
    if let Ok(value) = HeaderValue::from_str(&timings.header()) {
        response.headers_mut().insert(SERVER_TIMING, value);
    }
    response
}

fn idempotency_key(headers: &HeaderMap) -> Result<String, OrderError> {
    let key = headers.get(IDEMPOTENCY_KEY).ok_or(OrderError::KeyMissing)?;
    match key.to_str() {
        Ok("") => Err(OrderError::KeyMissing),
        Ok(key) if key.len() <= LONGEST_KEY => Ok(key.to_owned()),
        _ => Err(OrderError::Invalid(vec![FieldError {
            pointer: "/headers/idempotency-key".to_owned(),
            detail: format!("must have 1 to {LONGEST_KEY} visible ASCII characters"),
        }])),
    }
}

fn chosen_strategy(headers: &HeaderMap, default: Strategy, lab: bool) -> Result<Strategy, OrderError> {
    let Some(named) = headers.get(LOCK_STRATEGY) else {
        return Ok(default);
    };
    let named = String::from_utf8_lossy(named.as_bytes());
    let strategy: Strategy = named.parse().map_err(OrderError::UnknownStrategy)?;
    if lab || strategy.safe() { Ok(strategy) } else { Err(OrderError::StrategyNotAllowed(strategy)) }
}
