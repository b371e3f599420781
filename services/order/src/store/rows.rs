//! Rows as the database gives and takes them, and what they mean here.

use std::time::Duration;

use axum::http::StatusCode;
use sqlx::{FromRow, types::Json};
use uuid::Uuid;

use super::orders::{BeginResult, Completion, KeyClaim, StoredOrder};
use crate::domain::error::OrderError;
use crate::domain::order::{OrderLine, OrderStatus, Reservation, Sku};
use crate::http::answer::Answer;
use crate::strategy::Strategy;

#[derive(FromRow)]
pub(super) struct ClaimRow {
    order_id: Uuid,
    attempt: i32,
    maybe_written: bool,
    strategy: String,
}

impl ClaimRow {
    pub(super) fn read(self) -> Result<KeyClaim, OrderError> {
        let Self { order_id, attempt, maybe_written, strategy } = self;
        Ok(KeyClaim { order_id, attempt, strategy: stored_strategy(&strategy)?, maybe_written })
    }
}

#[derive(FromRow)]
pub(super) struct KeyRow {
    same_request: bool,
    state: String,
    status_code: Option<i16>,
    content_type: Option<String>,
    location: Option<String>,
    body: Option<Vec<u8>>,
    seconds_left: f64,
}

impl KeyRow {
    pub(super) fn read(self) -> Result<BeginResult, OrderError> {
        if !self.same_request {
            return Ok(BeginResult::Reused);
        }
        if self.state != "done" {
            let at_most = Duration::try_from_secs_f64(self.seconds_left).unwrap_or_default();
            return Ok(BeginResult::InProgress { at_most });
        }
        let status = self.status_code.and_then(|code| u16::try_from(code).ok());
        let (Some(Ok(status)), Some(content_type), Some(body)) =
            (status.map(StatusCode::from_u16), self.content_type, self.body)
        else {
            return Err(OrderError::Defect("a stored answer that is no answer"));
        };
        Ok(BeginResult::Answered(Answer { status, content_type, location: self.location, body }))
    }
}

#[derive(FromRow)]
pub(super) struct OrderRow {
    id: Uuid,
    customer: String,
    status: String,
    strategy: String,
    reservation: Option<Json<Reservation>>,
    lines: Json<Vec<(Sku, i64)>>,
}

impl OrderRow {
    pub(super) fn read(self) -> Result<StoredOrder, OrderError> {
        let status = match self.status.as_str() {
            "pending" => OrderStatus::Pending,
            "held" => OrderStatus::Held,
            "confirmed" => OrderStatus::Confirmed,
            "cancelled" => OrderStatus::Cancelled,
            "failed" => OrderStatus::Failed,
            _ => return Err(OrderError::Defect("an order in an unknown state")),
        };
        let lines = self.lines.0.into_iter().map(|(sku, quantity)| OrderLine { sku, quantity }).collect();
        let (strategy, reservation) = (stored_strategy(&self.strategy)?, self.reservation.map(|Json(held)| held));
        Ok(StoredOrder { id: self.id, customer: self.customer, status, strategy, lines, reservation })
    }
}

fn stored_strategy(name: &str) -> Result<Strategy, OrderError> {
    name.parse().map_err(|_| OrderError::Defect("an order with an unknown strategy"))
}

pub(super) struct CompletionRow<'a> {
    pub(super) key: &'static str,
    pub(super) order: OrderStatus,
    pub(super) payment: Option<&'static str>,
    pub(super) failure: Option<&'static str>,
    pub(super) reservation: Option<&'a Reservation>,
    pub(super) answer: Option<&'a Answer>,
    pub(super) resolve_after: Duration,
}

impl<'a> CompletionRow<'a> {
    pub(super) fn of(ending: &Completion<'a>) -> Self {
        let failed = Self {
            key: "free",
            order: OrderStatus::Failed,
            payment: Some("voided"),
            failure: None,
            reservation: None,
            answer: None,
            resolve_after: Duration::ZERO,
        };
        match *ending {
            Completion::Held(reservation, answer) => Self {
                key: "done",
                order: OrderStatus::Held,
                payment: Some("captured"),
                reservation: Some(reservation),
                answer: Some(answer),
                ..failed
            },
            Completion::Refused(code, answer) => {
                Self { key: "done", failure: Some(code), answer: Some(answer), ..failed }
            }
            Completion::Failed(code) => Self { failure: Some(code), ..failed },
            Completion::Unresolved { resolve_after } => {
                Self { key: "unresolved", order: OrderStatus::Pending, payment: None, resolve_after, ..failed }
            }
        }
    }
}
