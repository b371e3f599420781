//! `POST /v1/claims`: registers fencing tokens before stock is read.

use std::collections::BTreeMap;

use axum::{Json as Body, extract::State, http::HeaderMap};
use contract::Strategy;
use serde::{Deserialize, Serialize};
use service_kit::{
    docs::{CommonAuthErrors, CommonBodyErrors, CommonErrors},
    extract::Json,
    problem::Problem,
};
use utoipa::ToSchema;

use crate::{
    domain::{
        error::StockError,
        stock::{MAX_TOKEN, SkuField, StockSnapshot},
    },
    http::state::AppState,
};

/// Tokens to register.
#[derive(Debug, Deserialize, ToSchema, garde::Validate)]
#[serde(deny_unknown_fields)]
pub struct Claim {
    /// One token for each SKU.
    #[garde(length(min = 1), dive)]
    #[schema(min_items = 1, max_items = 100)]
    lines: Vec<ClaimLine>,
}

/// The token for one SKU.
#[derive(Debug, Deserialize, ToSchema, garde::Validate)]
#[serde(deny_unknown_fields)]
pub struct ClaimLine {
    /// 1 to 64 letters, digits, `_` or `-`.
    #[garde(dive)]
    #[schema(value_type = String, pattern = "^[A-Za-z0-9_-]{1,64}$")]
    sku: SkuField,
    /// The token of the lock: 1 to 2⁵³ − 1.
    #[garde(range(min = 1, max = MAX_TOKEN))]
    #[schema(minimum = 1, maximum = 9_007_199_254_740_991_i64)]
    fencing_token: i64,
}

/// The stock that the registered tokens protect.
#[derive(Debug, Serialize, ToSchema)]
pub struct Snapshots {
    /// In SKU order, one for each SKU.
    snapshots: Vec<StockSnapshot>,
}

/// Registers fencing tokens, all or none, and returns the stock that they protect. Writes with older tokens are
/// refused from then on.
#[utoipa::path(
    post,
    path = "/v1/claims",
    params(("Lock-Strategy" = Option<Strategy>, Header, description = "A strategy that claims; redlock-fenced by default")),
    request_body = Claim,
    responses(
        (status = 200, description = "The tokens are registered and committed", body = Snapshots),
        CommonErrors,
        CommonBodyErrors,
        CommonAuthErrors,
        (status = 403, description = "strategy_not_allowed", content_type = "application/problem+json", body = Problem),
        (status = 404, description = "not_found: the SKU does not exist", content_type = "application/problem+json", body = Problem),
        (status = 409, description = "stale_fencing_token, token_source_mismatch", content_type = "application/problem+json", body = Problem),
        (status = 422, description = "validation_failed, strategy_not_allowed", content_type = "application/problem+json", body = Problem),
    )
)]
pub async fn claim(
    State(state): State<AppState>,
    headers: HeaderMap,
    Json(claim): Json<Claim>,
) -> Result<Body<Snapshots>, StockError> {
    state.check_line_count(claim.lines.len())?;
    let strategy = state.strategy(&headers)?;
    let Some(source) = strategy.token_source().filter(|_| strategy.claims()) else {
        let problem = format!("strategy {strategy} does not claim");
        return Err(StockError::invalid_field("/headers/lock-strategy", problem));
    };
    let mut tokens = BTreeMap::new();
    for (index, line) in claim.lines.into_iter().enumerate() {
        let sku = line.sku.parsed(|| format!("/lines/{index}/sku"))?;
        if tokens.insert(sku, line.fencing_token).is_some_and(|earlier| earlier != line.fencing_token) {
            let pointer = format!("/lines/{index}/fencing_token");
            return Err(StockError::invalid_field(pointer, "differs from an earlier line of the same SKU"));
        }
    }
    let db = state.db.clone();
    let snapshots = state.run_write(async move { db.claim(&tokens, source).await }).await?;
    Ok(Body(Snapshots { snapshots }))
}
