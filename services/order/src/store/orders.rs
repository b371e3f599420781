//! All the SQL of the order service, except the provider's books in `payment.rs`.
//! Nothing here decides; nothing elsewhere queries.
//!
//! Every change is one statement and so one transaction and one round trip:
//! key and pending order first; the answer, the final state and the payment second.

use std::{str::FromStr, time::Duration};

use sqlx::{
    PgPool,
    migrate::{MigrateError, Migrator},
    postgres::{PgConnectOptions, PgPoolOptions},
    types::Json,
};
use uuid::Uuid;

use super::rows::{ClaimRow, CompletionRow, KeyRow, OrderRow};

use crate::domain::error::OrderError;
use crate::domain::order::{OrderLine, OrderRequest, OrderStatus, Reservation};
use crate::http::answer::Answer;
use crate::strategy::Strategy;

/// How long anybody waits for a connection: less than any lease worth having.
pub const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(1);

static MIGRATIONS: Migrator = sqlx::migrate!("../../migrations/order");

/// The service's own database. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Database {
    pub(super) pool: PgPool,
}

/// The first half of an order: its key and its request.
#[derive(Debug, Clone)]
pub struct KeyedRequest {
    /// Whose keys these are; keys of different calls never meet.
    pub scope: &'static str,
    /// As the client sent it.
    pub key: String,
    /// What is asked for.
    pub wanted: OrderRequest,
    /// How stock is to be guarded.
    pub strategy: Strategy,
    /// The trace it belongs to.
    pub traceparent: Option<String>,
}

/// The right to work on an order, until somebody takes it over.
#[derive(Debug, Clone, Copy)]
pub struct KeyClaim {
    /// The same for all attempts under one key.
    pub order_id: Uuid,
    /// Which attempt this is.
    pub attempt: i32,
    /// As the first attempt chose it.
    pub strategy: Strategy,
    /// An earlier attempt may have sent its write.
    pub maybe_written: bool,
}

/// What a key turned out to be.
#[derive(Debug)]
pub enum BeginResult {
    /// New, or free, or overdue: it is the caller's now.
    Claimed(KeyClaim),
    /// Answered before.
    Answered(Answer),
    /// It belongs to another request.
    Reused,
    /// Somebody is at it.
    InProgress {
        /// Until when it may take.
        at_most: Duration,
    },
}

/// The second half: what became of the order, and of the key.
#[derive(Debug)]
pub enum Completion<'a> {
    /// Units are held, the payment is captured, the answer is stored.
    Held(&'a Reservation, &'a Answer),
    /// A final no; the payment, if any, is voided, the answer is stored.
    Refused(&'static str, &'a Answer),
    /// Nothing was sold; the payment, if any, is voided, the key is free again.
    Failed(&'static str),
    /// Nobody knows. Everything stays as it is; `look_after` that long the
    /// reconciler looks it up, unless a retry comes first.
    Unresolved {
        /// From now.
        resolve_after: Duration,
    },
}

/// An order as it is stored.
#[derive(Debug, Clone)]
pub struct StoredOrder {
    /// Its id.
    pub id: Uuid,
    /// Who wanted it.
    pub customer: String,
    /// Where it stands.
    pub status: OrderStatus,
    /// How stock was guarded.
    pub strategy: Strategy,
    /// What was wanted, sorted by SKU.
    pub lines: Vec<OrderLine>,
    /// What inventory answered.
    pub reservation: Option<Reservation>,
}

impl Database {
    /// Connects to nothing yet.
    ///
    /// # Errors
    /// The URL cannot be read.
    pub fn new(url: &str, connections: u32) -> Result<Self, sqlx::Error> {
        let options = PgConnectOptions::from_str(url)?.application_name("order").options([
            ("statement_timeout", "2000"),
            ("lock_timeout", "1000"),
            ("idle_in_transaction_session_timeout", "5000"),
        ]);
        let pool = PgPoolOptions::new()
            .max_connections(connections)
            .acquire_timeout(ACQUIRE_TIMEOUT)
            .connect_lazy_with(options);
        Ok(Self { pool })
    }

    /// Brings the schema up to date; replicas that start together wait for each other.
    ///
    /// # Errors
    /// The database is away, or was migrated by a newer version.
    pub async fn migrate(&self) -> Result<(), MigrateError> {
        MIGRATIONS.run(&self.pool).await
    }

    /// # Errors
    /// The database does not answer.
    pub async fn ready(&self) -> Result<(), sqlx::Error> {
        sqlx::query("select 1").execute(&self.pool).await.map(|_| ())
    }

    /// Gives all connections back to the server.
    pub async fn close(&self) {
        self.pool.close().await;
    }

    /// Connections in use, and open.
    pub fn pool_usage(&self) -> (u32, u32) {
        let open = self.pool.size();
        let idle = u32::try_from(self.pool.num_idle()).unwrap_or(u32::MAX);
        (open.saturating_sub(idle), open)
    }

    /// Commits key and pending order, or finds out whose the key is.
    ///
    /// # Errors
    /// The database is away. The key may have been taken: it falls due by itself.
    pub async fn begin(&self, request: &KeyedRequest, claim_duration: Duration) -> Result<BeginResult, OrderError> {
        let fingerprint = request.wanted.canonical();
        // A key can vanish between the two statements when it expires just then.
        for _ in 0..3 {
            if let Some(claim) = self.insert(request, &fingerprint, claim_duration).await? {
                return Ok(BeginResult::Claimed(claim));
            }
            if let Some(claim) = self.take_over(request, &fingerprint, claim_duration).await? {
                return Ok(BeginResult::Claimed(claim));
            }
            if let Some(begun) = self.look_at_key(request, &fingerprint).await? {
                return Ok(begun);
            }
        }
        Err(OrderError::InProgress { at_most: Duration::from_secs(1) })
    }

    async fn insert(
        &self,
        request: &KeyedRequest,
        fingerprint: &[u8],
        claim_duration: Duration,
    ) -> Result<Option<KeyClaim>, sqlx::Error> {
        let order_id = Uuid::now_v7();
        let skus: Vec<_> = request.wanted.lines.iter().map(|line| line.sku.as_str()).collect();
        let quantities: Vec<_> = request.wanted.lines.iter().map(|line| line.quantity).collect();
        let inserted: i64 = sqlx::query_scalar(
            "with mine as (
                insert into idempotency_keys (scope, key, fingerprint, order_id, state, deadline)
                values ($1, $2, sha256($3), $4, 'in_flight', now() + make_interval(secs => $5))
                on conflict on constraint idempotency_keys_pk do nothing
                returning order_id
             ), ordered as (
                insert into orders (id, customer, strategy, idempotency_key, traceparent)
                select order_id, $6, $7, $2, $8 from mine
             ), lined as (
                insert into order_lines (order_id, sku, quantity)
                select order_id, wanted.sku, wanted.quantity
                  from mine, unnest($9::text[], $10::bigint[]) as wanted (sku, quantity)
             )
             select count(*) from mine",
        )
        .bind(request.scope)
        .bind(&request.key)
        .bind(fingerprint)
        .bind(order_id)
        .bind(claim_duration.as_secs_f64())
        .bind(&request.wanted.customer)
        .bind(request.strategy.name())
        .bind(&request.traceparent)
        .bind(skus)
        .bind(quantities)
        .fetch_one(&self.pool)
        .await?;
        let claim = KeyClaim { order_id, attempt: 1, strategy: request.strategy, maybe_written: false };
        Ok((inserted == 1).then_some(claim))
    }

    async fn take_over(
        &self,
        request: &KeyedRequest,
        fingerprint: &[u8],
        claim_duration: Duration,
    ) -> Result<Option<KeyClaim>, OrderError> {
        let taken: Option<ClaimRow> = sqlx::query_as(
            "with found as (
                select scope, key, state from idempotency_keys
                 where scope = $1 and key = $2 and fingerprint = sha256($3)
                   and (state in ('free', 'unresolved') or (state = 'in_flight' and deadline < now()))
                   for update
             ), mine as (
                update idempotency_keys k
                   set state = 'in_flight', attempt = k.attempt + 1, deadline = now() + make_interval(secs => $4)
                  from found
                 where k.scope = found.scope and k.key = found.key
                returning k.order_id, k.attempt, found.state <> 'free' as maybe_sent
             ), reopened as (
                update orders set status = 'pending', failure = null, updated_at = now()
                  from mine where orders.id = mine.order_id and orders.status = 'failed'
             )
             select mine.order_id, mine.attempt, mine.maybe_sent, orders.strategy
               from mine join orders on orders.id = mine.order_id",
        )
        .bind(request.scope)
        .bind(&request.key)
        .bind(fingerprint)
        .bind(claim_duration.as_secs_f64())
        .fetch_optional(&self.pool)
        .await?;
        taken.map(ClaimRow::read).transpose()
    }

    async fn look_at_key(&self, request: &KeyedRequest, fingerprint: &[u8]) -> Result<Option<BeginResult>, OrderError> {
        let key: Option<KeyRow> = sqlx::query_as(
            "select fingerprint = sha256($3) as same_request, state, status_code, content_type, location, body,
                    greatest(extract(epoch from deadline - now()), 0)::float8 as seconds_left
               from idempotency_keys where scope = $1 and key = $2",
        )
        .bind(request.scope)
        .bind(&request.key)
        .bind(fingerprint)
        .fetch_optional(&self.pool)
        .await?;
        key.map(KeyRow::read).transpose()
    }

    /// Records how an attempt ended, if the order is still this attempt's.
    ///
    /// A capture does not need the authorisation's row: a crash of Postgres may have lost it (see `payment`), and
    /// units are held only after the provider said yes.
    ///
    /// # Errors
    /// The database is away; the order stays pending and is reconciled.
    pub async fn finish(&self, claim: &KeyClaim, ending: &Completion<'_>) -> Result<bool, sqlx::Error> {
        let row = CompletionRow::of(ending);
        let recorded: i64 = sqlx::query_scalar(
            "with mine as (
                update idempotency_keys
                   set state = $3, status_code = $4, content_type = $5, location = $6, body = $7,
                       deadline = now() + make_interval(secs => $8)
                 where order_id = $1 and attempt = $2 and state = 'in_flight'
                returning order_id
             ), settled as (
                update orders
                   set status = $9, reservation = coalesce($10, reservation), failure = $11, updated_at = now(),
                       review_at = ($10::jsonb ->> 'expires_at')::timestamptz
                  from mine where orders.id = mine.order_id
             ), captured as (
                insert into payments (order_id, state, settled_at)
                select order_id, 'captured', now() from mine where $12 = 'captured'
                on conflict (order_id) do update set state = excluded.state, settled_at = excluded.settled_at
             ), voided as (
                update payments set state = 'voided', settled_at = now()
                  from mine
                 where payments.order_id = mine.order_id and payments.state = 'authorised' and $12 = 'voided'
             )
             select count(*) from mine",
        )
        .bind(claim.order_id)
        .bind(claim.attempt)
        .bind(row.key)
        .bind(row.answer.map(|answer| i16::try_from(answer.status.as_u16()).unwrap_or(i16::MAX)))
        .bind(row.answer.map(|answer| answer.content_type.as_str()))
        .bind(row.answer.and_then(|answer| answer.location.as_deref()))
        .bind(row.answer.map(|answer| answer.body.as_slice()))
        .bind(row.resolve_after.as_secs_f64())
        .bind(row.order.as_str())
        .bind(row.reservation.map(Json))
        .bind(row.failure)
        .bind(row.payment)
        .fetch_one(&self.pool)
        .await?;
        Ok(recorded == 1)
    }

    /// # Errors
    /// The database is away, or there is no such order.
    pub async fn order(&self, id: Uuid) -> Result<StoredOrder, OrderError> {
        let row: Option<OrderRow> = sqlx::query_as(
            "select id, customer, status, strategy, reservation,
                    (select jsonb_agg(jsonb_build_array(sku, quantity) order by sku collate \"C\")
                       from order_lines where order_id = id) as lines
               from orders where id = $1",
        )
        .bind(id)
        .fetch_optional(&self.pool)
        .await?;
        row.ok_or(OrderError::NoSuchOrder)?.read()
    }

    /// Should whoever changes this order next not come back, it is reviewed.
    ///
    /// # Errors
    /// The database is away.
    pub async fn review_after(&self, id: Uuid, delay: Duration) -> Result<(), sqlx::Error> {
        let noted = sqlx::query(
            "update orders set review_at = least(review_at, now() + make_interval(secs => $2))
              where id = $1 and status = 'held'",
        );
        noted.bind(id).bind(delay.as_secs_f64()).execute(&self.pool).await.map(|_| ())
    }

    /// Gives a held order its final state; one that is cancelled is paid back.
    /// False if it was not held any more.
    ///
    /// # Errors
    /// The database is away; the order is reviewed later.
    pub async fn conclude(
        &self,
        id: Uuid,
        status: OrderStatus,
        reservation: &Reservation,
        failure: Option<&str>,
    ) -> Result<bool, sqlx::Error> {
        let concluded: i64 = sqlx::query_scalar(
            "with concluded as (
                update orders
                   set status = $2, reservation = $3, failure = $4, review_at = null, updated_at = now()
                 where id = $1 and status = 'held'
                returning id
             ), paid_back as (
                update payments set state = 'voided', settled_at = now()
                  from concluded where payments.order_id = concluded.id and $2 = 'cancelled'
             )
             select count(*) from concluded",
        )
        .bind(id)
        .bind(status.as_str())
        .bind(Json(reservation))
        .bind(failure)
        .fetch_one(&self.pool)
        .await?;
        Ok(concluded == 1)
    }
}
