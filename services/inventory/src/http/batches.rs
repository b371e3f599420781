//! `POST /v1/reservations/batch`: sets units aside for several orders that share one grant of locks.

use std::{collections::BTreeMap, sync::Arc};

use axum::{Json as Body, extract::State, http::HeaderMap};
use contract::{Sku, Strategy};
use serde::{Deserialize, Serialize};
use service_kit::{
    docs::{CommonAuthErrors, CommonBodyErrors, CommonErrors},
    extract::Json,
    problem::Problem,
};
use utoipa::ToSchema;
use uuid::Uuid;

use crate::{
    domain::{
        allocation::{Batch, BatchOrder, ClaimedStock},
        error::StockError,
        stock::{MAX_QUANTITY, MAX_TOKEN, Reservation, SkuField},
    },
    http::state::AppState,
    lab::{PendingWrite, WriteKind},
};

/// Orders whose tokens were claimed together.
#[derive(Debug, Deserialize, ToSchema, garde::Validate)]
#[serde(deny_unknown_fields)]
pub struct ReserveBatch {
    /// The claimed SKUs, as they were read.
    #[garde(length(min = 1), dive)]
    #[schema(min_items = 1)]
    stock: Vec<StockLine>,
    /// In the order in which units are allocated.
    #[garde(length(min = 1, max = 100), dive)]
    #[schema(min_items = 1, max_items = 100)]
    orders: Vec<OrderLines>,
    /// How long the units are held, in seconds.
    #[garde(range(min = 1, max = 31_536_000))]
    #[schema(minimum = 1, maximum = 31_536_000)]
    hold_seconds: i64,
}

/// One SKU that was claimed and read.
#[derive(Debug, Deserialize, ToSchema, garde::Validate)]
#[serde(deny_unknown_fields)]
pub struct StockLine {
    /// 1 to 64 letters, digits, `_` or `-`.
    #[garde(dive)]
    #[schema(value_type = String, pattern = "^[A-Za-z0-9_-]{1,64}$")]
    sku: SkuField,
    /// The token it was claimed with.
    #[garde(range(min = 1, max = MAX_TOKEN))]
    #[schema(minimum = 1, maximum = 9_007_199_254_740_991_i64)]
    fencing_token: i64,
    /// `available` when it was read.
    #[garde(range(min = 0))]
    #[schema(minimum = 0)]
    observed_available: i64,
}

/// One order of the batch.
#[derive(Debug, Deserialize, ToSchema, garde::Validate)]
#[serde(deny_unknown_fields)]
pub struct OrderLines {
    /// The order; it has at most one reservation.
    #[garde(skip)]
    order_id: Uuid,
    /// Every SKU is among `stock`. Lines of the same SKU are summed.
    #[garde(length(min = 1), dive)]
    #[schema(min_items = 1)]
    lines: Vec<OrderLine>,
}

/// Units of one SKU.
#[derive(Debug, Deserialize, ToSchema, garde::Validate)]
#[serde(deny_unknown_fields)]
pub struct OrderLine {
    /// 1 to 64 letters, digits, `_` or `-`.
    #[garde(dive)]
    #[schema(value_type = String, pattern = "^[A-Za-z0-9_-]{1,64}$")]
    sku: SkuField,
    /// Units.
    #[garde(range(min = 1, max = MAX_QUANTITY))]
    #[schema(minimum = 1, maximum = 1_000_000)]
    quantity: i64,
}

/// The result of each order, in the order of the request.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Outcomes)]
pub struct BatchOutcomes {
    outcomes: Vec<OrderOutcome>,
}

/// The result of one order.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
#[schema(as = Outcome)]
pub enum OrderOutcome {
    /// Its units are set aside.
    Reservation(Reservation),
    /// Nothing was written for it.
    Problem(OrderRefusal),
}

/// Why an order was refused, in members that a problem has too.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Refusal)]
pub struct OrderRefusal {
    code: &'static str,
    detail: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    sku: Option<Sku>,
    #[serde(skip_serializing_if = "Option::is_none")]
    available: Option<i64>,
}

impl From<StockError> for OrderRefusal {
    fn from(error: StockError) -> Self {
        let (code, detail) = (error.code().as_str(), error.to_string());
        let (sku, available) = match error {
            StockError::OutOfStock { sku, available } => (Some(sku), Some(available)),
            _ => (None, None),
        };
        Self { code, detail, sku, available }
    }
}

/// Sets units aside for several orders that share their tokens; each order gets its own result.
#[utoipa::path(
    post,
    path = "/v1/reservations/batch",
    params(("Lock-Strategy" = Option<Strategy>, Header, description = "A strategy that claims; redlock-fenced by default")),
    request_body(content = ReserveBatch, example = json!({
        "stock": [{ "sku": "tea", "fencing_token": 1, "observed_available": 10 }],
        "orders": [{ "order_id": "01900000-0000-7000-8000-000000000001", "lines": [{ "sku": "tea", "quantity": 1 }] }],
        "hold_seconds": 900,
    })),
    responses(
        (status = 200, description = "The result of each order, in the order of the request", body = BatchOutcomes),
        CommonErrors,
        CommonBodyErrors,
        CommonAuthErrors,
        (status = 403, description = "strategy_not_allowed", content_type = "application/problem+json", body = Problem),
        (status = 404, description = "not_found: the SKU does not exist", content_type = "application/problem+json", body = Problem),
        (status = 409, description = "stale_fencing_token, token_source_mismatch, invalid_state: none of the orders was written", content_type = "application/problem+json", body = Problem),
        (status = 422, description = "validation_failed, strategy_not_allowed", content_type = "application/problem+json", body = Problem),
    )
)]
pub async fn reserve_batch(
    State(state): State<Arc<AppState>>,
    headers: HeaderMap,
    Json(reserve): Json<ReserveBatch>,
) -> Result<Body<BatchOutcomes>, StockError> {
    state.check_line_count(reserve.stock.len())?;
    let strategy = state.strategy(&headers)?;
    if !strategy.claims() {
        let problem = format!("strategy {strategy} does not claim, so orders cannot share tokens");
        return Err(StockError::invalid_field("/stock/0/fencing_token", problem));
    }
    let batch = batch(reserve, strategy)?;
    let pending = state.lab.is_some().then(|| PendingWrite {
        kind: WriteKind::Reserve,
        order_id: batch.orders.first().map(|order| order.order_id),
        strategy: strategy.name(),
        tokens: batch.stock.iter().map(|(sku, stock)| (sku.clone(), Some(stock.fencing_token))).collect(),
    });
    let db = state.db.clone();
    let results = state.run_reserve(pending, async move { db.reserve_batch(&batch).await }).await?;
    let outcomes = results.into_iter().map(|result| match result {
        Ok(reservation) => OrderOutcome::Reservation(reservation),
        Err(error) => OrderOutcome::Problem(error.into()),
    });
    Ok(Body(BatchOutcomes { outcomes: outcomes.collect() }))
}

fn batch(reserve: ReserveBatch, strategy: Strategy) -> Result<Batch, StockError> {
    let mut stock = BTreeMap::new();
    for (index, line) in reserve.stock.into_iter().enumerate() {
        let pointer = || format!("/stock/{index}/sku");
        let StockLine { sku, fencing_token, observed_available } = line;
        if stock.insert(sku.parsed(pointer)?, ClaimedStock { fencing_token, observed_available }).is_some() {
            return Err(StockError::invalid_field(pointer(), "names a SKU of an earlier line"));
        }
    }
    let mut orders: Vec<BatchOrder> = Vec::with_capacity(reserve.orders.len());
    for (index, OrderLines { order_id, lines }) in reserve.orders.into_iter().enumerate() {
        if orders.iter().any(|order| order.order_id == order_id) {
            let pointer = format!("/orders/{index}/order_id");
            return Err(StockError::invalid_field(pointer, "names an order of an earlier element"));
        }
        orders.push(BatchOrder { order_id, lines: summed(index, lines, &stock)? });
    }
    Ok(Batch { strategy, stock, orders, hold_seconds: reserve.hold_seconds })
}

fn summed(
    order: usize,
    lines: Vec<OrderLine>,
    stock: &BTreeMap<Sku, ClaimedStock>,
) -> Result<BTreeMap<Sku, i64>, StockError> {
    let mut summed = BTreeMap::new();
    for (index, OrderLine { sku, quantity }) in lines.into_iter().enumerate() {
        let pointer = |field: &str| format!("/orders/{order}/lines/{index}/{field}");
        let sku = sku.parsed(|| pointer("sku"))?;
        if !stock.contains_key(&sku) {
            return Err(StockError::invalid_field(pointer("sku"), "is not among the stock of the batch"));
        }
        let sum: &mut i64 = summed.entry(sku).or_default();
        *sum += quantity;
        if *sum > MAX_QUANTITY {
            let problem = format!("the lines of this SKU add up to more than {MAX_QUANTITY}");
            return Err(StockError::invalid_field(pointer("quantity"), problem));
        }
    }
    Ok(summed)
}
