//! The two requests of every order that is not part of a batch: `POST /v1/claims` registers its fencing tokens and
//! reads stock, `POST /v1/reservations` sets its units aside. The statements are in `store/protocol.rs`, the conditions
//! in `migrations/inventory/0002_protocol.sql`.

use std::{collections::BTreeMap, sync::Arc};

use axum::{
    Json as Body,
    extract::State,
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse, Response},
};
use contract::Strategy;
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
        error::StockError,
        stock::{MAX_TOKEN, Reservation, ReserveLine, ReserveRequest, SkuField, StockSnapshot},
    },
    http::state::AppState,
    lab::{PendingWrite, WriteKind},
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

/// Registers fencing tokens, all or none, and returns the stock that they protect. Writes with older tokens are
/// refused from then on.
#[utoipa::path(
    post,
    path = "/v1/claims",
    params(("Lock-Strategy" = Option<Strategy>, Header, description = "A strategy that claims; redlock-fenced by default")),
    request_body(content = Claim, example = json!({ "lines": [{ "sku": "tea", "fencing_token": 1 }] })),
    responses(
        (status = 200, description = "The tokens are registered and committed", body = Snapshots, example = json!({
            "snapshots": [{ "sku": "tea", "on_hand": 10, "available": 10, "fence": 1, "version": 1 }],
        })),
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
    State(state): State<Arc<AppState>>,
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
    let snapshots = state.run_write(async move { db.claim(tokens, source).await }).await?;
    Ok(Body(Snapshots { snapshots }))
}

/// Sets units aside for an order. The same request sent again returns the reservation of the first one.
#[utoipa::path(
    post,
    path = "/v1/reservations",
    params(("Lock-Strategy" = Option<Strategy>, Header, description = "How the order guards stock; redlock-fenced by default, unsafe ones only where the lab is on")),
    request_body(content = Reserve, example = json!({
        "order_id": "01900000-0000-7000-8000-000000000001",
        "lines": [{ "sku": "tea", "quantity": 1, "fencing_token": 1, "observed_available": 10 }],
        "hold_seconds": 900,
    })),
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
    State(state): State<Arc<AppState>>,
    headers: HeaderMap,
    Json(reserve): Json<Reserve>,
) -> Result<Response, StockError> {
    state.check_line_count(reserve.lines.len())?;
    let strategy = state.strategy(&headers)?;
    let request = ReserveRequest::new(reserve.order_id, strategy, reserve.lines, reserve.hold_seconds)?;
    let pending = state.lab.is_some().then(|| PendingWrite {
        kind: WriteKind::Reserve,
        order_id: Some(request.order_id),
        strategy: strategy.name(),
        tokens: request.lines.iter().map(|(sku, line)| (sku.clone(), line.fencing_token)).collect(),
    });
    let db = state.db.clone();
    let reservation = state.run_reserve(pending, async move { db.reserve(&request).await }).await?;
    let location = [(header::LOCATION, format!("/v1/reservations/{}", reservation.reservation_id))];
    Ok((StatusCode::CREATED, location, Body(reservation)).into_response())
}
