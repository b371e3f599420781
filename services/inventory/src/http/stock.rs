//! The handlers of stock and claims, and the shapes they speak. What a request means is decided in `stock`,
//! what happens to it in `stock_db` and `changes`.

use std::{borrow::Cow, collections::BTreeMap};

use axum::{Json as Body, extract::State, http::HeaderMap};
use serde::{Deserialize, Serialize};
use service_kit::{
    docs::{CommonAuthErrors, CommonBodyErrors, CommonErrors},
    extract::{Json, Path, Query},
    problem::Problem,
};
use utoipa::{IntoParams, ToSchema};

use crate::{
    app::App,
    domain::error::StockError,
    domain::stock::{MAX_TOKEN, Sku},
    store::Snapshot,
    strategy::Strategy,
};

const PAGE: i64 = 100;

/// What there is of a SKU.
#[derive(Debug, Deserialize, ToSchema, garde::Validate)]
#[serde(deny_unknown_fields)]
pub struct PutStock {
    /// Units, held ones included.
    #[garde(range(min = 0, max = 1_000_000_000))]
    #[schema(minimum = 0, maximum = 1_000_000_000)]
    on_hand: i64,
}

/// Which page of stock.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct PageQuery {
    /// SKUs after this one.
    #[serde(default)]
    #[param(pattern = "^[A-Za-z0-9_-]{0,64}$", required = false)]
    after: String,
    /// At most so many; 100 if it is not said.
    #[param(minimum = 1, maximum = 1000)]
    limit: Option<i64>,
}

/// Tokens to register.
#[derive(Debug, Deserialize, ToSchema, garde::Validate)]
#[serde(deny_unknown_fields)]
pub struct Claim {
    /// One for each SKU.
    #[garde(length(min = 1), dive)]
    #[schema(min_items = 1, max_items = 100)]
    lines: Vec<ClaimLine>,
}

/// One token.
#[derive(Debug, Deserialize, ToSchema, garde::Validate)]
#[serde(deny_unknown_fields)]
pub struct ClaimLine {
    /// For which SKU; 1 to 64 letters, digits, `_` or `-`.
    #[garde(custom(is_sku))]
    #[schema(pattern = "^[A-Za-z0-9_-]{1,64}$")]
    sku: String,
    /// What the lock issued: 1 to 2⁵³ − 1.
    #[garde(range(min = 1, max = MAX_TOKEN))]
    #[schema(minimum = 1, maximum = 9_007_199_254_740_991_i64)]
    fencing_token: i64,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "the signature garde wants")]
pub(crate) fn is_sku(sku: &str, _: &()) -> garde::Result {
    sku.parse::<Sku>().map(drop).map_err(garde::Error::new)
}

/// A SKU as it stands.
#[derive(Debug, Serialize, ToSchema)]
pub struct StockView {
    /// Which.
    sku: String,
    /// Units there are, held ones included.
    on_hand: i64,
    /// Units that can be set aside.
    available: i64,
    /// The highest token that was registered.
    fence: i64,
    /// Grows with every change of units; what `optimistic` compares.
    version: i64,
}

impl From<Snapshot> for StockView {
    fn from(Snapshot { sku, on_hand, available, fence, version }: Snapshot) -> Self {
        Self { sku, on_hand, available, fence, version }
    }
}

/// A page of stock, in SKU order.
#[derive(Debug, Serialize, ToSchema)]
pub struct StockPage {
    /// At most as many as were asked for.
    stock: Vec<StockView>,
    /// What to ask for next; null on the last page.
    #[schema(required = true)]
    next_after: Option<String>,
}

/// What the registered tokens protect.
#[derive(Debug, Serialize, ToSchema)]
pub struct Snapshots {
    /// In SKU order, each once.
    snapshots: Vec<StockView>,
}

/// Sets what there is, absolute: creates the SKU or restocks it, under its lock.
#[utoipa::path(
    put,
    path = "/v1/stock/{sku}",
    params(("sku" = String, Path, description = "1 to 64 letters, digits, `_` or `-`")),
    request_body = PutStock,
    responses(
        (status = 200, description = "As it is now", body = StockView),
        CommonErrors,
        CommonBodyErrors,
        CommonAuthErrors,
        (status = 404, description = "not_found: a path that cannot be read", content_type = "application/problem+json", body = Problem),
        (status = 409, description = "invalid_state: lower than what is held; stale_fencing_token", content_type = "application/problem+json", body = Problem),
        (status = 503, description = "lock_timeout, lock_quorum_unavailable, dependency_unavailable", content_type = "application/problem+json", body = Problem),
    )
)]
pub async fn put_stock(
    State(app): State<App>,
    Path(sku): Path<String>,
    Json(put): Json<PutStock>,
) -> Result<Body<StockView>, StockError> {
    let sku = parse_sku(&sku)?;
    let written = app.clone().spawn_write(async move { app.changes.put(&sku, put.on_hand).await });
    flatten_join(written.await).map(|snapshot| Body(snapshot.into()))
}

/// One SKU.
#[utoipa::path(
    get,
    path = "/v1/stock/{sku}",
    params(("sku" = String, Path, description = "1 to 64 letters, digits, `_` or `-`")),
    responses(
        (status = 200, description = "As it stands", body = StockView),
        CommonErrors,
        CommonAuthErrors,
        (status = 404, description = "not_found", content_type = "application/problem+json", body = Problem),
    )
)]
pub async fn show_stock(State(app): State<App>, Path(sku): Path<String>) -> Result<Body<StockView>, StockError> {
    let sku: Sku = sku.parse().map_err(|_| StockError::UnknownSku { sku })?;
    Ok(Body(app.db.snapshot(&sku).await?.into()))
}

/// All SKUs, a page at a time.
#[utoipa::path(
    get,
    path = "/v1/stock",
    params(PageQuery),
    responses(
        (status = 200, description = "A page", body = StockPage),
        CommonErrors,
        CommonAuthErrors,
        (status = 422, description = "validation_failed", content_type = "application/problem+json", body = Problem),
    )
)]
pub async fn list_stock(State(app): State<App>, Query(page): Query<PageQuery>) -> Result<Body<StockPage>, StockError> {
    let limit = page.limit.unwrap_or(PAGE);
    if !(1..=1000).contains(&limit) {
        return Err(StockError::Invalid("/query/limit".to_owned(), "must be 1 to 1000".to_owned()));
    }
    if !page.after.is_empty() {
        is_sku(&page.after, &()).map_err(|why| StockError::Invalid("/query/after".to_owned(), why.to_string()))?;
    }
    let mut found = app.db.page(&page.after, limit + 1).await?;
    let more = found.len() > usize::try_from(limit).unwrap_or(usize::MAX);
    found.truncate(usize::try_from(limit).unwrap_or(usize::MAX));
    let next_after = more.then(|| found.last().map(|last| last.sku.clone())).flatten();
    Ok(Body(StockPage { stock: found.into_iter().map(Into::into).collect(), next_after }))
}

/// Registers fencing tokens, all or none, and hands out what they protect: older holders are shut out.
#[utoipa::path(
    post,
    path = "/v1/claims",
    params(("Lock-Strategy" = Option<Strategy>, Header, description = "One that claims; redlock-fenced if it is not said")),
    request_body = Claim,
    responses(
        (status = 200, description = "Registered, durably", body = Snapshots),
        CommonErrors,
        CommonBodyErrors,
        CommonAuthErrors,
        (status = 403, description = "strategy_not_allowed", content_type = "application/problem+json", body = Problem),
        (status = 404, description = "not_found: an unknown SKU", content_type = "application/problem+json", body = Problem),
        (status = 409, description = "stale_fencing_token, token_source_mismatch", content_type = "application/problem+json", body = Problem),
        (status = 422, description = "validation_failed, strategy_not_allowed", content_type = "application/problem+json", body = Problem),
    )
)]
pub async fn claim(
    State(app): State<App>,
    headers: HeaderMap,
    Json(claim): Json<Claim>,
) -> Result<Body<Snapshots>, StockError> {
    check_line_count(claim.lines.len(), app.max_lines)?;
    let strategy = strategy(&headers, app.lab.is_some())?;
    let Some(source) = strategy.token_source().filter(|_| strategy.claims()) else {
        return Err(StockError::Invalid("/headers/lock-strategy".to_owned(), format!("{strategy} does not claim")));
    };
    let mut lines = BTreeMap::new();
    for (at, line) in claim.lines.into_iter().enumerate() {
        if lines.insert(parse_sku(&line.sku)?, line.fencing_token).is_some_and(|other| other != line.fencing_token) {
            let pointer = format!("/lines/{at}/fencing_token");
            return Err(StockError::Invalid(pointer, "differs from an earlier line of the same SKU".to_owned()));
        }
    }
    let lines: Vec<_> = lines.into_iter().collect();
    let claimed = app.clone().spawn_write(async move { app.db.claim(&lines, source).await });
    let snapshots = flatten_join(claimed.await)?.into_iter().map(Into::into).collect();
    Ok(Body(Snapshots { snapshots }))
}

pub(crate) fn parse_sku(sku: &str) -> Result<Sku, StockError> {
    sku.parse().map_err(|why: &str| StockError::Invalid("/sku".to_owned(), why.to_owned()))
}

pub(crate) fn check_line_count(lines: usize, limit: usize) -> Result<(), StockError> {
    let too_many = || StockError::Invalid("/lines".to_owned(), format!("{lines} lines, {limit} are the most"));
    if lines <= limit { Ok(()) } else { Err(too_many()) }
}

pub(crate) fn strategy(headers: &HeaderMap, lab: bool) -> Result<Strategy, StockError> {
    let named = headers.get("lock-strategy").map(|value| String::from_utf8_lossy(value.as_bytes()));
    let strategy: Strategy = named.unwrap_or(Cow::Borrowed("redlock-fenced")).parse()?;
    if lab || strategy.is_safe() { Ok(strategy) } else { Err(StockError::StrategyNotAllowed(strategy)) }
}

pub(crate) fn flatten_join<T>(result: Result<Result<T, StockError>, tokio::task::JoinError>) -> Result<T, StockError> {
    result.unwrap_or_else(|panicked| {
        Err(StockError::UnexpectedPostgresError(sqlx::Error::Protocol(panicked.to_string())))
    })
}
