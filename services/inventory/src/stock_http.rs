//! The handlers of inventory and the shapes they speak. What a request means is decided in `stock`,
//! what happens to it in `stock_db`.

use std::collections::BTreeMap;

use axum::{
    Json as Body,
    extract::State,
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse, Response},
};
use serde::{Deserialize, Serialize};
use service_kit::extract::{Json, Path, Query};
use time::OffsetDateTime;
use uuid::Uuid;

use crate::{
    app::App,
    stock::{Asked, MAX_QUANTITY, MAX_TOKEN, Sku, Wanted},
    stock_db::{ReservationLine, Snapshot, StoredReservation},
    stock_error::StockError,
    strategy::Strategy,
};

const PAGE: i64 = 100;

/// What there is of a SKU.
#[derive(Debug, Deserialize, garde::Validate)]
#[serde(deny_unknown_fields)]
pub struct PutStock {
    /// Units, held ones included.
    #[garde(range(min = 0, max = 1_000_000_000))]
    on_hand: i64,
}

/// Which page of stock.
#[derive(Debug, Deserialize)]
pub struct PageQuery {
    /// SKUs after this one.
    #[serde(default)]
    after: String,
    /// At most so many, 1000 at the most.
    limit: Option<i64>,
}

/// Tokens to register.
#[derive(Debug, Deserialize, garde::Validate)]
#[serde(deny_unknown_fields)]
pub struct Claim {
    /// One for each SKU.
    #[garde(length(min = 1), dive)]
    lines: Vec<ClaimLine>,
}

/// One token.
#[derive(Debug, Deserialize, garde::Validate)]
#[serde(deny_unknown_fields)]
pub struct ClaimLine {
    /// For which SKU.
    #[garde(custom(is_sku))]
    sku: String,
    /// What the lock issued.
    #[garde(range(min = 1, max = MAX_TOKEN))]
    fencing_token: i64,
}

/// Units to set aside.
#[derive(Debug, Deserialize, garde::Validate)]
#[serde(deny_unknown_fields)]
pub struct Reserve {
    /// For which order; one reservation each.
    #[garde(skip)]
    order_id: Uuid,
    /// What.
    #[garde(length(min = 1), dive)]
    lines: Vec<ReserveLine>,
    /// How long.
    #[garde(range(min = 1, max = 31_536_000))]
    hold_seconds: i64,
}

/// Units of one SKU.
#[derive(Debug, Deserialize, garde::Validate)]
#[serde(deny_unknown_fields)]
pub struct ReserveLine {
    /// Which.
    #[garde(custom(is_sku))]
    sku: String,
    /// How many.
    #[garde(range(min = 1, max = MAX_QUANTITY))]
    quantity: i64,
    /// For strategies with tokens.
    #[garde(inner(range(min = 1, max = MAX_TOKEN)))]
    fencing_token: Option<i64>,
    /// What the decision was made on.
    #[garde(inner(range(min = 0)))]
    observed_available: Option<i64>,
    /// Likewise; for strategies that compare versions.
    #[serde(rename = "observed_version")]
    #[garde(skip)]
    _observed_version: Option<i64>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "the signature garde wants")]
pub(crate) fn is_sku(sku: &str, _: &()) -> garde::Result {
    sku.parse::<Sku>().map(drop).map_err(garde::Error::new)
}

/// Which order.
#[derive(Debug, Deserialize)]
pub struct OfOrder {
    order_id: Uuid,
}

/// A SKU as it is shown.
#[derive(Debug, Serialize)]
pub struct StockView {
    sku: String,
    on_hand: i64,
    available: i64,
    fence: i64,
    version: i64,
}

/// A reservation as it is shown.
#[derive(Debug, Serialize)]
pub struct ReservationView {
    reservation_id: Uuid,
    order_id: Uuid,
    status: String,
    #[serde(with = "time::serde::rfc3339")]
    expires_at: OffsetDateTime,
    lines: Vec<ReservationLine>,
}

impl From<Snapshot> for StockView {
    fn from(Snapshot { sku, on_hand, available, fence, version }: Snapshot) -> Self {
        Self { sku, on_hand, available, fence, version }
    }
}

impl From<StoredReservation> for ReservationView {
    fn from(stored: StoredReservation) -> Self {
        let StoredReservation { id, order_id, status, fingerprint: _, expires_at, lines } = stored;
        Self { reservation_id: id, order_id, status, expires_at, lines: lines.0 }
    }
}

/// Sets what there is, absolute.
pub async fn put_stock(
    State(app): State<App>,
    Path(sku): Path<String>,
    Json(put): Json<PutStock>,
) -> Result<Body<StockView>, StockError> {
    let sku = named(&sku)?;
    let written = app.clone().spawn_write(async move { app.db.put(&sku, put.on_hand).await });
    joined(written.await).map(|snapshot| Body(snapshot.into()))
}

/// One SKU.
pub async fn show_stock(State(app): State<App>, Path(sku): Path<String>) -> Result<Body<StockView>, StockError> {
    let sku: Sku = sku.parse().map_err(|_| StockError::UnknownSku { sku })?;
    Ok(Body(app.db.snapshot(&sku).await?.into()))
}

/// All SKUs, a page at a time.
pub async fn list_stock(State(app): State<App>, Query(page): Query<PageQuery>) -> Result<Response, StockError> {
    let limit = page.limit.unwrap_or(PAGE);
    if !(1..=1000).contains(&limit) {
        return Err(StockError::Invalid("/limit".to_owned(), "must be 1 to 1000".to_owned()));
    }
    if !page.after.is_empty() {
        is_sku(&page.after, &()).map_err(|why| StockError::Invalid("/after".to_owned(), why.to_string()))?;
    }
    let mut found = app.db.page(&page.after, limit + 1).await?;
    let more = found.len() > usize::try_from(limit).unwrap_or(usize::MAX);
    found.truncate(usize::try_from(limit).unwrap_or(usize::MAX));
    let next = more.then(|| found.last().map(|last| last.sku.clone())).flatten();
    let stock: Vec<StockView> = found.into_iter().map(Into::into).collect();
    Ok(Body(serde_json::json!({ "stock": stock, "next_after": next })).into_response())
}

/// Registers tokens, all or none, and hands out what they protect.
pub async fn claim(
    State(app): State<App>,
    headers: HeaderMap,
    Json(claim): Json<Claim>,
) -> Result<Response, StockError> {
    few_enough(claim.lines.len(), app.max_lines)?;
    let strategy = strategy(&headers, app.lab.is_some())?;
    let Some(source) = strategy.tokens().filter(|_| strategy.claims()) else {
        return Err(StockError::Invalid("/lines/0/fencing_token".to_owned(), format!("{strategy} does not claim")));
    };
    let mut lines = BTreeMap::new();
    for (at, line) in claim.lines.into_iter().enumerate() {
        if lines.insert(named(&line.sku)?, line.fencing_token).is_some_and(|other| other != line.fencing_token) {
            let pointer = format!("/lines/{at}/fencing_token");
            return Err(StockError::Invalid(pointer, "differs from an earlier line of the same SKU".to_owned()));
        }
    }
    let lines: Vec<_> = lines.into_iter().collect();
    let claimed = app.clone().spawn_write(async move { app.db.claim(&lines, source).await });
    let snapshots: Vec<StockView> = joined(claimed.await)?.into_iter().map(Into::into).collect();
    Ok(Body(serde_json::json!({ "snapshots": snapshots })).into_response())
}

/// Sets units aside for an order.
pub async fn reserve(
    State(app): State<App>,
    headers: HeaderMap,
    Json(reserve): Json<Reserve>,
) -> Result<Response, StockError> {
    few_enough(reserve.lines.len(), app.max_lines)?;
    let strategy = strategy(&headers, app.lab.is_some())?;
    let wanted = wanted(reserve, strategy)?;
    let writer = app.clone();
    let written = app.spawn_write(async move {
        let parked = writer.lab.as_ref().and_then(|lab| lab.park(&wanted));
        let result = writer.db.reserve(&wanted).await;
        if let Some(lab) = &writer.lab {
            lab.ended(parked, &result);
        }
        result
    });
    let stored: ReservationView = joined(written.await)?.into();
    let location = [(header::LOCATION, format!("/v1/reservations/{}", stored.reservation_id))];
    Ok((StatusCode::CREATED, location, Body(stored)).into_response())
}

fn wanted(reserve: Reserve, strategy: Strategy) -> Result<Wanted, StockError> {
    let Reserve { order_id, lines, hold_seconds } = reserve;
    let mut wanted = Wanted { order_id, strategy, lines: BTreeMap::new(), hold_seconds };
    for (at, line) in lines.into_iter().enumerate() {
        let wrong = |field: &str, why: &str| StockError::Invalid(format!("/lines/{at}/{field}"), why.to_owned());
        let token = match (strategy.tokens(), line.fencing_token) {
            (Some(_), None) => return Err(wrong("fencing_token", "this strategy needs a token")),
            (None, Some(_)) => return Err(wrong("fencing_token", "this strategy has no tokens")),
            (_, token) => token,
        };
        let observed = line.observed_available;
        let observed = observed.ok_or_else(|| wrong("observed_available", "this strategy writes what was computed"))?;
        wanted.add(at, named(&line.sku)?, Asked { quantity: line.quantity, token, observed })?;
    }
    Ok(wanted)
}

/// One reservation.
pub async fn show_reservation(
    State(app): State<App>,
    Path(id): Path<Uuid>,
) -> Result<Body<ReservationView>, StockError> {
    Ok(Body(app.db.reservation(id).await?.into()))
}

/// The reservation of an order: how a caller learns what became of a write nobody answered.
pub async fn find_reservation(
    State(app): State<App>,
    Query(of): Query<OfOrder>,
) -> Result<Body<ReservationView>, StockError> {
    Ok(Body(app.db.reservation_of(of.order_id).await?.into()))
}

fn named(sku: &str) -> Result<Sku, StockError> {
    sku.parse().map_err(|why: &str| StockError::Invalid("/sku".to_owned(), why.to_owned()))
}

pub(crate) fn few_enough(lines: usize, limit: usize) -> Result<(), StockError> {
    let too_many = || StockError::Invalid("/lines".to_owned(), format!("{lines} lines, {limit} are the most"));
    if lines <= limit { Ok(()) } else { Err(too_many()) }
}

pub(crate) fn strategy(headers: &HeaderMap, lab: bool) -> Result<Strategy, StockError> {
    let named = headers.get("lock-strategy").map_or("redlock-fenced".into(), |v| String::from_utf8_lossy(v.as_bytes()));
    let strategy: Strategy = named.parse()?;
    if lab || strategy.safe() { Ok(strategy) } else { Err(StockError::StrategyNotAllowed(strategy)) }
}

pub(crate) fn joined<T>(result: Result<Result<T, StockError>, tokio::task::JoinError>) -> Result<T, StockError> {
    result.unwrap_or_else(|panicked| Err(StockError::Unforeseen(sqlx::Error::Protocol(panicked.to_string()))))
}
