//! `/v1/stock`: sets the stock of a SKU, and reads it.

use std::sync::Arc;

use axum::{Json as Body, extract::State};
use contract::Sku;
use serde::{Deserialize, Serialize};
use service_kit::{
    docs::{CommonAuthErrors, CommonBodyErrors, CommonErrors},
    extract::{Json, Path, Query},
    problem::Problem,
};
use utoipa::{IntoParams, ToSchema};

use crate::{
    domain::{error::StockError, stock::StockSnapshot},
    http::state::AppState,
};

const DEFAULT_PAGE_LENGTH: i64 = 100;
const MAX_PAGE_LENGTH: i64 = 1000;
/// SKUs that one request may name.
const MAX_NAMED_SKUS: usize = 100;

/// The units of a SKU.
#[derive(Debug, Deserialize, ToSchema, garde::Validate)]
#[serde(deny_unknown_fields)]
pub struct PutStock {
    /// Units in the warehouse, those of held reservations included.
    #[garde(range(min = 0, max = 1_000_000_000))]
    #[schema(minimum = 0, maximum = 1_000_000_000)]
    on_hand: i64,
}

/// A page of stock.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct PageQuery {
    /// Only SKUs after this one; from the first SKU if absent.
    #[serde(default)]
    #[param(pattern = "^[A-Za-z0-9_-]{0,64}$", required = false)]
    after: String,
    /// Only these SKUs, separated by commas, at most 100, without `after` and `limit`; those that do not exist are left out.
    skus: Option<String>,
    /// At most this many SKUs; 100 if absent.
    #[param(minimum = 1, maximum = 1000)]
    limit: Option<i64>,
}

/// A page of stock, in SKU order.
#[derive(Debug, Serialize, ToSchema)]
pub struct StockPage {
    /// At most `limit` SKUs.
    stock: Vec<StockSnapshot>,
    /// The value of `after` for the next page; null on the last page.
    #[schema(required = true, value_type = Option<String>)]
    next_after: Option<Sku>,
}

/// Sets the units on hand, as an absolute number: creates the SKU or restocks it, under its lock.
#[utoipa::path(
    put,
    path = "/v1/stock/{sku}",
    params(("sku" = String, Path, description = "1 to 64 letters, digits, `_` or `-`")),
    request_body(content = PutStock, example = json!({ "on_hand": 10 })),
    responses(
        (status = 200, description = "The stock as it was written", body = StockSnapshot, example = json!({
            "sku": "tea", "on_hand": 10, "available": 10, "fence": 0, "version": 1,
        })),
        CommonErrors,
        CommonBodyErrors,
        CommonAuthErrors,
        (status = 404, description = "not_found: the path cannot be decoded", content_type = "application/problem+json", body = Problem),
        (status = 409, description = "invalid_state: fewer units than reservations hold; stale_fencing_token", content_type = "application/problem+json", body = Problem),
        (status = 503, description = "lock_timeout, lock_quorum_unavailable, dependency_unavailable", content_type = "application/problem+json", body = Problem),
    )
)]
pub async fn put_stock(
    State(state): State<Arc<AppState>>,
    Path(sku): Path<String>,
    Json(put): Json<PutStock>,
) -> Result<Body<StockSnapshot>, StockError> {
    let sku: Sku = parse_sku(&sku, "/sku")?;
    let changes = state.changes.clone();
    state.run_write(async move { changes.set_stock(&sku, put.on_hand).await }).await.map(Body)
}

/// The stock of one SKU.
#[utoipa::path(
    get,
    path = "/v1/stock/{sku}",
    params(("sku" = String, Path, description = "1 to 64 letters, digits, `_` or `-`")),
    responses(
        (status = 200, description = "The current stock", body = StockSnapshot),
        CommonErrors,
        CommonAuthErrors,
        (status = 404, description = "not_found", content_type = "application/problem+json", body = Problem),
    )
)]
pub async fn show_stock(
    State(state): State<Arc<AppState>>,
    Path(sku): Path<String>,
) -> Result<Body<StockSnapshot>, StockError> {
    let sku: Sku = sku.parse().map_err(|_| StockError::UnknownSku { sku })?;
    state.db.snapshot(&sku).await.map(Body)
}

/// The stock of all SKUs, a page at a time.
#[utoipa::path(
    get,
    path = "/v1/stock",
    params(PageQuery),
    responses(
        (status = 200, description = "A page of stock", body = StockPage),
        CommonErrors,
        CommonAuthErrors,
        (status = 422, description = "validation_failed", content_type = "application/problem+json", body = Problem),
    )
)]
pub async fn list_stock(
    State(state): State<Arc<AppState>>,
    Query(page): Query<PageQuery>,
) -> Result<Body<StockPage>, StockError> {
    if let Some(skus) = page.skus {
        return state.db.stock_of(&named_skus(&skus)?).await.map(|stock| Body(StockPage { stock, next_after: None }));
    }
    let limit = page.limit.unwrap_or(DEFAULT_PAGE_LENGTH);
    if !(1..=MAX_PAGE_LENGTH).contains(&limit) {
        return Err(StockError::invalid_field("/query/limit", format!("must be 1 to {MAX_PAGE_LENGTH}")));
    }
    if !page.after.is_empty() {
        parse_sku(&page.after, "/query/after")?;
    }
    // One more than requested: its presence shows that another page follows.
    let mut stock = state.db.page(&page.after, limit + 1).await?;
    let limit = usize::try_from(limit).unwrap_or(usize::MAX);
    let has_next = stock.len() > limit;
    stock.truncate(limit);
    let next_after = stock.last().filter(|_| has_next).map(|last| last.sku.clone());
    Ok(Body(StockPage { stock, next_after }))
}

fn named_skus(skus: &str) -> Result<Vec<Sku>, StockError> {
    let skus: Vec<_> = skus.split(',').map(|sku| parse_sku(sku, "/query/skus")).collect::<Result<_, _>>()?;
    if skus.len() > MAX_NAMED_SKUS {
        return Err(StockError::invalid_field("/query/skus", format!("at most {MAX_NAMED_SKUS} SKUs")));
    }
    Ok(skus)
}

fn parse_sku(text: &str, pointer: &str) -> Result<Sku, StockError> {
    text.parse().map_err(|error: contract::InvalidSku| StockError::invalid_field(pointer, error.to_string()))
}
