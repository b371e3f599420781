//! Records how attempts end, with their answers and payments, for several callers in one statement.

use std::time::Duration;

use postgres_pool::{Pool, Statement};
use sqlx::types::Json;
use uuid::Uuid;

use crate::{
    domain::order::{OrderStatus, Reservation},
    store::key_records::{Answer, Completion, KeyClaim, KeyState},
};

/// The columns that an attempt ends with.
#[derive(Debug)]
pub(super) struct CompletedOrder {
    order_id: Uuid,
    attempt: i32,
    state: KeyState,
    answer: Option<Answer>,
    unanswered: bool,
    pause: Duration,
    arrival: Duration,
    status: OrderStatus,
    reservation: Option<Json<Reservation>>,
    failure: Option<&'static str>,
    payment: Option<&'static str>,
}

impl CompletedOrder {
    pub(super) fn new(claim: &KeyClaim, completion: Completion) -> Self {
        let (state, status, payment) = match completion {
            Completion::Held(..) => (KeyState::Done, OrderStatus::Held, Some("captured")),
            Completion::Refused(..) => (KeyState::Done, OrderStatus::Failed, Some("voided")),
            Completion::Failed(_) => (KeyState::Free, OrderStatus::Failed, Some("voided")),
            Completion::Unresolved { .. } => (KeyState::Unresolved, OrderStatus::Pending, None),
        };
        let (unanswered, pause, arrival) = match completion {
            Completion::Unresolved { unanswered, pause, arrival } => (unanswered, pause, arrival),
            _ => (false, Duration::ZERO, Duration::ZERO),
        };
        let (answer, reservation, failure) = match completion {
            Completion::Held(reservation, answer) => (Some(answer), Some(Json(reservation)), None),
            Completion::Refused(code, answer) => (Some(answer), None, Some(code.as_str())),
            Completion::Failed(code) => (None, None, Some(code.as_str())),
            Completion::Unresolved { .. } => (None, None, None),
        };
        let KeyClaim { order_id, attempt, .. } = *claim;
        Self { order_id, attempt, state, answer, unanswered, pause, arrival, status, reservation, failure, payment }
    }

    fn status_code(&self) -> Option<i16> {
        self.answer.as_ref().and_then(|answer| i16::try_from(answer.status).ok())
    }
}

/// The statement; `false` for each order that another attempt has taken over.
///
/// A capture does not need the row of the authorisation, which a crash of
/// Postgres may have lost (see `payments`): units are held only after the
/// provider authorised the payment.
#[derive(Debug, Clone)]
pub(super) struct Complete {
    pub(super) pool: Pool,
}

impl Statement for Complete {
    type Row = CompletedOrder;
    type Result = bool;
    const NAME: &'static str = "completions of orders";

    async fn execute(&self, rows: &[CompletedOrder]) -> Result<Vec<bool>, sqlx::Error> {
        let answers = || rows.iter().map(|row| row.answer.as_ref());
        let recorded: Vec<Uuid> = sqlx::query_scalar(
            "with ended as (
                select * from unnest($1::uuid[], $2::integer[], $3::text[], $4::smallint[], $5::text[], $6::text[],
                                     $7::bytea[], $8::float8[], $9::float8[], $10::boolean[], $11::text[],
                                     $12::jsonb[], $13::text[], $14::text[])
                    as row (order_id, attempt, state, status_code, content_type, location, body, seconds_until_due,
                            seconds_to_arrive, unanswered, status, reservation, failure, payment)
             ), mine as (
                update idempotency_keys k
                   set state = e.state, status_code = e.status_code, content_type = e.content_type,
                       location = e.location, body = e.body,
                       deadline = greatest(now() + make_interval(secs => e.seconds_until_due),
                                           case when e.unanswered then now() else coalesce(k.unknown_since, now()) end
                                           + make_interval(secs => e.seconds_to_arrive)),
                       unknown_since = case when e.state <> 'unresolved' then null
                                            when e.unanswered then now()
                                            else coalesce(k.unknown_since, now()) end
                  from ended e
                 where k.order_id = e.order_id and k.attempt = e.attempt and k.state = 'in_flight'
                returning k.order_id
             ), settled as (
                update orders
                   set status = e.status, reservation = coalesce(e.reservation, orders.reservation),
                       failure = e.failure, updated_at = now(),
                       review_at = (e.reservation ->> 'expires_at')::timestamptz
                  from mine join ended e using (order_id) where orders.id = mine.order_id
             ), captured as (
                insert into payments (order_id, state, settled_at)
                select order_id, 'captured', now() from mine join ended using (order_id) where payment = 'captured'
                on conflict (order_id) do update set state = excluded.state, settled_at = excluded.settled_at
             ), voided as (
                update payments set state = 'voided', settled_at = now()
                  from mine join ended e using (order_id)
                 where payments.order_id = mine.order_id and payments.state = 'authorised' and e.payment = 'voided'
             )
             select order_id from mine",
        )
        .bind(rows.iter().map(|row| row.order_id).collect::<Vec<_>>())
        .bind(rows.iter().map(|row| row.attempt).collect::<Vec<_>>())
        .bind(rows.iter().map(|row| row.state.into()).collect::<Vec<&str>>())
        .bind(rows.iter().map(CompletedOrder::status_code).collect::<Vec<_>>())
        .bind(answers().map(|answer| Some(answer?.content_type.as_str())).collect::<Vec<_>>())
        .bind(answers().map(|answer| answer?.location.as_deref()).collect::<Vec<_>>())
        .bind(answers().map(|answer| Some(answer?.body.as_slice())).collect::<Vec<_>>())
        .bind(rows.iter().map(|row| row.pause.as_secs_f64()).collect::<Vec<_>>())
        .bind(rows.iter().map(|row| row.arrival.as_secs_f64()).collect::<Vec<_>>())
        .bind(rows.iter().map(|row| row.unanswered).collect::<Vec<_>>())
        .bind(rows.iter().map(|row| row.status.name()).collect::<Vec<_>>())
        .bind(rows.iter().map(|row| row.reservation.as_ref()).collect::<Vec<_>>())
        .bind(rows.iter().map(|row| row.failure).collect::<Vec<_>>())
        .bind(rows.iter().map(|row| row.payment).collect::<Vec<_>>())
        .fetch_all(&self.pool)
        .await?;
        Ok(rows.iter().map(|row| recorded.contains(&row.order_id)).collect())
    }
}
