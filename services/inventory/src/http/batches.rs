//! The call that writes several orders at once, for order replicas whose orders share a grant, and its shapes.

use std::collections::BTreeMap;

use axum::{Json as Body, extract::State, http::HeaderMap};
use serde::{Deserialize, Serialize};
use service_kit::{
    docs::{CommonAuthErrors, CommonBodyErrors, CommonErrors},
    extract::Json,
    problem::Problem,
};
use utoipa::ToSchema;
use uuid::Uuid;

use crate::{
    app::App,
    domain::batch::{Batch, BatchOrder, ClaimedStock},
    domain::error::StockError,
    domain::stock::{MAX_QUANTITY, MAX_TOKEN, Sku},
    http::reservations::ReservationView,
    http::stock::{check_line_count, flatten_join, is_sku, strategy},
    strategy::Strategy,
};

/// Orders whose tokens were claimed together.
#[derive(Debug, Deserialize, ToSchema, garde::Validate)]
#[serde(deny_unknown_fields)]
pub struct ReserveBatch {
    /// What they were decided on.
    #[garde(length(min = 1), dive)]
    #[schema(min_items = 1)]
    stock: Vec<StockLine>,
    /// In the order in which they are served.
    #[garde(length(min = 1, max = 100), dive)]
    #[schema(min_items = 1, max_items = 100)]
    orders: Vec<OrderLines>,
    /// How long the holds last.
    #[garde(range(min = 1, max = 31_536_000))]
    #[schema(minimum = 1, maximum = 31_536_000)]
    hold_seconds: i64,
}

/// One SKU that was claimed and read.
#[derive(Debug, Deserialize, ToSchema, garde::Validate)]
#[serde(deny_unknown_fields)]
pub struct StockLine {
    /// Which.
    #[garde(custom(is_sku))]
    #[schema(pattern = "^[A-Za-z0-9_-]{1,64}$")]
    sku: String,
    /// The token it was claimed with.
    #[garde(range(min = 1, max = MAX_TOKEN))]
    #[schema(minimum = 1, maximum = 9_007_199_254_740_991_i64)]
    fencing_token: i64,
    /// Units that were seen.
    #[garde(range(min = 0))]
    #[schema(minimum = 0)]
    observed_available: i64,
}

/// One order of the batch.
#[derive(Debug, Deserialize, ToSchema, garde::Validate)]
#[serde(deny_unknown_fields)]
pub struct OrderLines {
    /// Which; one reservation each.
    #[garde(skip)]
    order_id: Uuid,
    /// What; every SKU is among `stock`.
    #[garde(length(min = 1), dive)]
    #[schema(min_items = 1)]
    lines: Vec<OrderLine>,
}

/// Units of one SKU.
#[derive(Debug, Deserialize, ToSchema, garde::Validate)]
#[serde(deny_unknown_fields)]
pub struct OrderLine {
    /// Which.
    #[garde(custom(is_sku))]
    #[schema(pattern = "^[A-Za-z0-9_-]{1,64}$")]
    sku: String,
    /// How many.
    #[garde(range(min = 1, max = MAX_QUANTITY))]
    #[schema(minimum = 1, maximum = 1_000_000)]
    quantity: i64,
}

/// How each order ended, in the order of the request.
#[derive(Debug, Serialize, ToSchema)]
pub struct Outcomes {
    outcomes: Vec<Outcome>,
}

/// How one order ended.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// Its units are set aside.
    Reservation(ReservationView),
    /// They are not.
    Problem(Refusal),
}

/// Why an order was refused, in the members that a problem has.
#[derive(Debug, Serialize, ToSchema)]
pub struct Refusal {
    code: &'static str,
    detail: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    sku: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    available: Option<i64>,
}

impl From<StockError> for Refusal {
    fn from(error: StockError) -> Self {
        let detail = error.to_string();
        let left =
            if let StockError::OutOfStock { sku, available } = &error { Some((sku.clone(), *available)) } else { None };
        let (sku, available) = left.unzip();
        Self { code: Problem::from(error).code(), detail, sku, available }
    }
}

/// Sets units aside for several orders that share their tokens, each by itself.
#[utoipa::path(
    post,
    path = "/v1/reservations/batch",
    params(("Lock-Strategy" = Option<Strategy>, Header, description = "One that claims; redlock-fenced if it is not said")),
    request_body = ReserveBatch,
    responses(
        (status = 200, description = "How each order ended, in the order of the request", body = Outcomes),
        CommonErrors,
        CommonBodyErrors,
        CommonAuthErrors,
        (status = 403, description = "strategy_not_allowed", content_type = "application/problem+json", body = Problem),
        (status = 404, description = "not_found: an unknown SKU", content_type = "application/problem+json", body = Problem),
        (status = 409, description = "stale_fencing_token, token_source_mismatch, invalid_state: none of the orders was written", content_type = "application/problem+json", body = Problem),
        (status = 422, description = "validation_failed, strategy_not_allowed", content_type = "application/problem+json", body = Problem),
    )
)]
pub async fn reserve_batch(
    State(app): State<App>,
    headers: HeaderMap,
    Json(reserve): Json<ReserveBatch>,
) -> Result<Body<Outcomes>, StockError> {
    check_line_count(reserve.stock.len(), app.max_lines)?;
    let strategy = strategy(&headers, app.lab.is_some())?;
    if !strategy.claims() {
        let why = format!("{strategy} does not claim, so its orders share nothing");
        return Err(StockError::Invalid("/stock/0/fencing_token".to_owned(), why));
    }
    let batch = batch(reserve, strategy)?;
    let writer = app.clone();
    let written = app.spawn_write(async move {
        let parked = writer.lab.as_ref().and_then(|lab| lab.pause_batch(&batch));
        let result = writer.db.reserve_batch(&batch).await;
        if let Some(lab) = &writer.lab {
            lab.ended(parked, &result);
        }
        result
    });
    let outcome = |end: Result<_, StockError>| match end {
        Ok(stored) => Outcome::Reservation(ReservationView::from(stored)),
        Err(error) => Outcome::Problem(error.into()),
    };
    let outcomes = flatten_join(written.await)?.into_iter().map(outcome).collect();
    Ok(Body(Outcomes { outcomes }))
}

fn batch(reserve: ReserveBatch, strategy: Strategy) -> Result<Batch, StockError> {
    let ReserveBatch { stock, orders, hold_seconds } = reserve;
    let mut batch = Batch { strategy, stock: BTreeMap::new(), orders: Vec::with_capacity(orders.len()), hold_seconds };
    for (at, StockLine { sku, fencing_token: token, observed_available: observed }) in stock.into_iter().enumerate() {
        if batch.stock.insert(checked(&sku)?, ClaimedStock { token, observed }).is_some() {
            return Err(wrong(format!("/stock/{at}/sku"), "is there twice"));
        }
    }
    for (at, OrderLines { order_id, lines }) in orders.into_iter().enumerate() {
        if batch.orders.iter().any(|order| order.order_id == order_id) {
            return Err(wrong(format!("/orders/{at}/order_id"), "is there twice"));
        }
        let mut summed = BTreeMap::new();
        for (line, OrderLine { sku, quantity }) in lines.into_iter().enumerate() {
            let sku = checked(&sku)?;
            if !batch.stock.contains_key(&sku) {
                return Err(wrong(format!("/orders/{at}/lines/{line}/sku"), "is not among the stock of the batch"));
            }
            let sum: &mut i64 = summed.entry(sku).or_default();
            *sum += quantity;
            if *sum > MAX_QUANTITY {
                return Err(wrong(format!("/orders/{at}/lines/{line}/quantity"), "adds up to more than 1000000"));
            }
        }
        batch.orders.push(BatchOrder { order_id, lines: summed });
    }
    Ok(batch)
}

fn wrong(pointer: String, why: &str) -> StockError {
    StockError::Invalid(pointer, why.to_owned())
}

fn checked(sku: &str) -> Result<Sku, StockError> {
    sku.parse().map_err(|why: &str| wrong("/sku".to_owned(), why))
}
