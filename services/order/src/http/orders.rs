//! The handlers of orders, and the bodies they take and send. Requests are
//! checked in `domain::order` and carried out in `placement`.

use std::sync::Arc;

use axum::{
    Extension,
    body::{Body, to_bytes},
    extract::State,
    http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use contract::Strategy;
use futures_util::future::BoxFuture;
use serde::Deserialize;
use service_kit::{
    docs::{CommonBodyErrors, CommonErrors},
    extract::{Json, Path},
    limits::Admitted,
    problem::Problem,
};
use utoipa::ToSchema;
use uuid::Uuid;

use crate::{
    domain::{
        error::OrderError,
        order::{FieldError, Order, OrderLimits, OrderRequest},
    },
    inventory::client::Transition,
    placement::{
        batch::Timings,
        lifecycle,
        place_order::{OrderPlacement, PlacementResult},
    },
    store::key_records::{Answer, KeyedRequest},
};

const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");
const IDEMPOTENT_REPLAYED: HeaderName = HeaderName::from_static("idempotent-replayed");
const LOCK_STRATEGY: HeaderName = HeaderName::from_static("lock-strategy");
const SERVER_TIMING: HeaderName = HeaderName::from_static("server-timing");
const MAX_KEY_LENGTH: usize = 255;
/// More than any answer of this service, in bytes.
const MAX_ANSWER: usize = 1 << 20;

/// What the handlers share.
#[derive(Debug)]
pub struct OrdersApi {
    /// Places and concludes orders.
    pub placement: OrderPlacement,
    /// The strategy of a request that names none.
    pub default_strategy: Strategy,
    /// A request may name a strategy that can oversell.
    pub lab: bool,
    /// The largest order that is accepted.
    pub limits: OrderLimits,
}

/// The order that a customer places.
#[derive(Debug, Deserialize, ToSchema, garde::Validate)]
#[garde(allow_unvalidated)] // `OrderRequest::parse` checks every field, against configured limits
#[serde(deny_unknown_fields)]
pub struct PlaceOrder {
    /// The customer's name, 1 to 128 characters.
    #[schema(min_length = 1, max_length = 128, example = "ada")]
    customer: String,
    /// The units to order; lines of one SKU are summed.
    #[schema(min_items = 1, max_items = 100)]
    lines: Vec<PlaceLine>,
}

/// Units of one SKU to order.
// Text until `OrderRequest::parse` checks it: serde would stop at the first wrong field.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct PlaceLine {
    /// 1 to 64 letters, digits, `_` or `-`.
    #[schema(pattern = "^[A-Za-z0-9_-]{1,64}$", example = "tea")]
    sku: String,
    /// 1 to 1,000,000 units.
    #[schema(minimum = 1, maximum = 1_000_000, example = 1)]
    quantity: i64,
}

/// Places an order.
#[utoipa::path(
    post,
    path = "/v1/orders",
    params(
        ("Idempotency-Key" = String, Header, description = "Identifies this order: the same key is answered with the same order", min_length = 1, max_length = 255),
        ("Lock-Strategy" = Option<Strategy>, Header, description = "How stock is guarded; strategies that can oversell only where the lab is switched on"),
    ),
    request_body(content = PlaceOrder, example = json!({ "customer": "ada", "lines": [{ "sku": "tea", "quantity": 1 }] })),
    responses(
        (status = 201, description = "Held", body = Order, headers(("Location" = String), ("Server-Timing" = String)), example = json!({
            "id": "01900000-0000-7000-8000-000000000001",
            "customer": "ada",
            "status": "held",
            "strategy": "redlock-fenced",
            "lines": [{ "sku": "tea", "quantity": 1 }],
            "reservation": {
                "reservation_id": "01900000-0000-7000-8000-000000000002",
                "status": "held",
                "expires_at": "2026-01-01T00:15:00Z",
                "lines": [{ "sku": "tea", "quantity": 1, "fencing_token": 1 }],
            },
        })),
        CommonErrors,
        CommonBodyErrors,
        (status = 400, description = "malformed_json, idempotency_key_missing, header_repeated", content_type = "application/problem+json", body = Problem),
        (status = 403, description = "strategy_not_allowed", content_type = "application/problem+json", body = Problem),
        (status = 404, description = "not_found: an unknown SKU", content_type = "application/problem+json", body = Problem),
        (status = 409, description = "out_of_stock, idempotency_in_progress, stale_fencing_token, token_source_mismatch, reservation_expired", content_type = "application/problem+json", body = Problem),
        (status = 422, description = "validation_failed, idempotency_key_reused, strategy_not_allowed", content_type = "application/problem+json", body = Problem),
        (status = 503, description = "lock_timeout, payment_timeout, lock_quorum_unavailable, dependency_unavailable", content_type = "application/problem+json", body = Problem),
    )
)]
pub async fn place(
    State(api): State<Arc<OrdersApi>>,
    Extension(admitted): Extension<Admitted>,
    headers: HeaderMap,
    Json(body): Json<PlaceOrder>,
) -> Result<Response, OrderError> {
    let key = idempotency_key(&headers)?;
    let strategy = chosen_strategy(&headers, api.default_strategy, api.lab)?;
    api.placement.section().lock(strategy)?;
    let lines = body.lines.iter().map(|line| (line.sku.as_str(), line.quantity));
    let order = OrderRequest::parse(&body.customer, lines, api.limits).map_err(OrderError::Invalid)?;
    let traceparent = service_kit::trace::current_traceparent();
    let request = KeyedRequest { scope: "place-order", key, order, strategy, traceparent };
    match api.placement.place(request, admitted).await {
        PlacementResult::Final(answer, timings) => Ok(timed(response(answer)?, &timings)),
        PlacementResult::Replayed(answer) => Ok(replayed(response(answer)?)),
        PlacementResult::Retryable(error, timings) => Ok(timed(error.into_response(), &timings)),
    }
}

/// Shows an order.
#[utoipa::path(
    get,
    path = "/v1/orders/{id}",
    params(("id" = Uuid, Path, description = "The id in `Location`")),
    responses(
        (status = 200, description = "The order", body = Order),
        CommonErrors,
        (status = 404, description = "not_found", content_type = "application/problem+json", body = Problem),
    )
)]
pub async fn show(State(api): State<Arc<OrdersApi>>, Path(id): Path<Uuid>) -> Result<Response, OrderError> {
    Ok(axum::Json(api.placement.db.order(id).await?).into_response())
}

/// Confirms a held order: its units become the customer's.
#[utoipa::path(
    post,
    path = "/v1/orders/{id}/confirm",
    params(("id" = Uuid, Path, description = "The id in `Location`")),
    responses(
        (status = 200, description = "Confirmed, now or before", body = Order),
        CommonErrors,
        (status = 404, description = "not_found", content_type = "application/problem+json", body = Problem),
        (status = 409, description = "invalid_state, reservation_expired", content_type = "application/problem+json", body = Problem),
    )
)]
pub async fn confirm(State(api): State<Arc<OrdersApi>>, Path(id): Path<Uuid>) -> Result<Response, OrderError> {
    Ok(axum::Json(lifecycle::conclude(&api.placement, id, Transition::Confirm).await?).into_response())
}

/// Cancels a held order: its units return to stock and its payment is voided.
#[utoipa::path(
    post,
    path = "/v1/orders/{id}/cancel",
    params(("id" = Uuid, Path, description = "The id in `Location`")),
    responses(
        (status = 200, description = "Cancelled, now or before", body = Order),
        CommonErrors,
        (status = 404, description = "not_found", content_type = "application/problem+json", body = Problem),
        (status = 409, description = "invalid_state, reservation_expired", content_type = "application/problem+json", body = Problem),
    )
)]
pub async fn cancel(State(api): State<Arc<OrdersApi>>, Path(id): Path<Uuid>) -> Result<Response, OrderError> {
    Ok(axum::Json(lifecycle::conclude(&api.placement, id, Transition::Cancel).await?).into_response())
}

/// A final answer as it is sent: 201 with the order, or the problem of the error.
///
/// # Errors
/// The order or the problem cannot be rendered, which is a defect.
pub fn render(result: Result<Order, OrderError>) -> BoxFuture<'static, Result<Answer, OrderError>> {
    Box::pin(async move {
        let (location, response) = match result {
            Ok(order) => {
                let location = format!("/v1/orders/{}", order.id);
                (Some(location), (StatusCode::CREATED, axum::Json(order)).into_response())
            }
            Err(error) => (None, error.into_response()),
        };
        let (parts, body) = response.into_parts();
        let content_type = parts.headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
        let body = to_bytes(body, MAX_ANSWER).await.map_err(|_| OrderError::Defect("an answer is not bytes"))?;
        Ok(Answer {
            status: parts.status.as_u16(),
            content_type: content_type.unwrap_or("application/json").to_owned(),
            location,
            body: body.into(),
        })
    })
}

fn response(answer: Answer) -> Result<Response, OrderError> {
    let Answer { status, content_type, location, body } = answer;
    let mut response = Response::new(Body::from(body));
    *response.status_mut() =
        StatusCode::from_u16(status).map_err(|_| OrderError::Defect("a recorded answer has an invalid status"))?;
    let headers = [(header::CONTENT_TYPE, Some(content_type)), (header::LOCATION, location)];
    for (name, value) in headers {
        if let Some(value) = value.and_then(|value| HeaderValue::from_str(&value).ok()) {
            response.headers_mut().insert(name, value);
        }
    }
    Ok(response)
}

fn replayed(mut response: Response) -> Response {
    response.headers_mut().insert(IDEMPOTENT_REPLAYED, HeaderValue::from_static("true"));
    response
}

fn timed(mut response: Response, timings: &Timings) -> Response {
    if let Ok(value) = HeaderValue::from_str(&timings.header()) {
        response.headers_mut().insert(SERVER_TIMING, value);
    }
    response
}

/// The header's value, if it was sent. Of two values none is chosen: the key decides
/// which order a request belongs to, and a proxy on the way may have chosen the other one.
fn single<'a>(
    headers: &'a HeaderMap,
    name: HeaderName,
    shown: &'static str,
) -> Result<Option<&'a HeaderValue>, OrderError> {
    let mut values = headers.get_all(name).iter();
    match (values.next(), values.next()) {
        (value, None) => Ok(value),
        _several => Err(OrderError::HeaderRepeated(shown)),
    }
}

fn idempotency_key(headers: &HeaderMap) -> Result<String, OrderError> {
    let key = single(headers, IDEMPOTENCY_KEY, "Idempotency-Key")?.ok_or(OrderError::KeyMissing)?;
    match key.to_str() {
        Ok("") => Err(OrderError::KeyMissing),
        // `to_str` accepts tabs.
        Ok(key) if key.len() <= MAX_KEY_LENGTH && !key.contains('\t') => Ok(key.to_owned()),
        _ => Err(OrderError::Invalid(vec![FieldError::new(
            "/headers/idempotency-key",
            format!("must have 1 to {MAX_KEY_LENGTH} visible ASCII characters"),
        )])),
    }
}

fn chosen_strategy(headers: &HeaderMap, default: Strategy, lab: bool) -> Result<Strategy, OrderError> {
    let Some(name) = single(headers, LOCK_STRATEGY, "Lock-Strategy")? else {
        return Ok(default);
    };
    let name = String::from_utf8_lossy(name.as_bytes());
    let strategy: Strategy = name.parse().map_err(|_| OrderError::UnknownStrategy(name.into_owned()))?;
    if lab || strategy.is_safe() { Ok(strategy) } else { Err(OrderError::StrategyNotAllowed(strategy)) }
}
