//! The idempotency keys: one key, one order, one final answer.
//!
//! A key is claimed together with its pending order, and completed together
//! with the order's state, its payment and the answer, byte for byte as sent.
//!
//! Invariant: of several attempts under one key only the latest records its
//! end, and replicas never claim the same key at the same time.
//! Absence: what the rows mean is in `key_records`.

use std::time::Duration;

use uuid::Uuid;

use crate::{
    domain::error::OrderError,
    store::{
        completions::CompletedOrder,
        database::Database,
        key_records::{
            BeginResult, ClaimRow, Completion, EarlierWrite, KeyClaim, KeyRow, KeyedRequest, OverdueOrder, OverdueRow,
        },
        known_keys::Key,
        new_keys::NewKey,
        replicas::GONE_AFTER,
    },
};

impl Database {
    /// Claims the key and creates its pending order, or reports the state of the key. A write without an answer may take
    /// `arrival` to arrive.
    ///
    /// # Errors
    /// The database failed. The key may have been claimed: the claim falls due by itself.
    pub async fn begin(
        &self,
        request: &KeyedRequest,
        claim_duration: Duration,
        arrival: Duration,
    ) -> Result<BeginResult, OrderError> {
        let fingerprint = request.order.canonical();
        // A key that expires between two of the statements is new to the next round.
        for _ in 0..3 {
            if let Some(claim) = self.claim_new_key(request, &fingerprint, claim_duration).await? {
                return Ok(BeginResult::Claimed(claim));
            }
            if let Some(claim) = self.claim_known_key(request, &fingerprint, claim_duration, arrival).await? {
                return Ok(BeginResult::Claimed(claim));
            }
            if let Some(state) = self.key_state(request, &fingerprint).await? {
                return Ok(state);
            }
        }
        Err(OrderError::InProgress { at_most: Duration::from_secs(1) })
    }

    async fn claim_new_key(
        &self,
        request: &KeyedRequest,
        fingerprint: &[u8],
        claim_duration: Duration,
    ) -> Result<Option<KeyClaim>, OrderError> {
        let (order_id, strategy) = (Uuid::now_v7(), request.strategy);
        let row = NewKey { order_id, fingerprint: fingerprint.to_owned(), claim_duration, request: request.clone() };
        let claimed = self.new_keys.run(row).await?;
        Ok(claimed.then_some(KeyClaim { order_id, attempt: 1, strategy, earlier_write: EarlierWrite::None }))
    }

    /// Whether the key of this request exists, at one moment during this call.
    ///
    /// # Errors
    /// The database failed.
    pub async fn knows_key(&self, request: &KeyedRequest) -> Result<bool, OrderError> {
        Ok(self.known_keys.run(Key { scope: request.scope, key: request.key.clone() }).await?)
    }

    async fn claim_known_key(
        &self,
        request: &KeyedRequest,
        fingerprint: &[u8],
        claim_duration: Duration,
        arrival: Duration,
    ) -> Result<Option<KeyClaim>, OrderError> {
        let row: Option<ClaimRow> = sqlx::query_as(
            "with found as (
                select scope, key, case state
                           when 'free' then 'none'
                           when 'unresolved' then
                               case when unknown_since < now() - make_interval(secs => $7) then 'over' else 'pending' end
                           else 'pending'
                       end as earlier_write
                  from idempotency_keys k
                 where scope = $1 and key = $2 and fingerprint = sha256($3)
                   and (state in ('free', 'unresolved') or (state = 'in_flight' and (deadline < now()
                        or (owner is not null and not exists (select from replicas
                             where id = k.owner and seen_at > now() - make_interval(secs => $6))))))
                   for update
             ), mine as (
                update idempotency_keys k
                   set state = 'in_flight', attempt = k.attempt + 1, deadline = now() + make_interval(secs => $4),
                       owner = $5, unknown_since = case when k.state = 'in_flight' then now() else k.unknown_since end
                  from found
                 where k.scope = found.scope and k.key = found.key
                returning k.order_id, k.attempt, found.earlier_write
             ), reopened as (
                update orders set status = 'pending', failure = null, updated_at = now()
                  from mine where orders.id = mine.order_id and orders.status = 'failed'
             )
             select mine.order_id, mine.attempt, mine.earlier_write, orders.strategy
               from mine join orders on orders.id = mine.order_id",
        )
        .bind(request.scope)
        .bind(&request.key)
        .bind(fingerprint)
        .bind(claim_duration.as_secs_f64())
        .bind(self.replica)
        .bind(GONE_AFTER.as_secs_f64())
        .bind(arrival.as_secs_f64())
        .fetch_optional(&self.pool)
        .await?;
        row.map(ClaimRow::decode).transpose()
    }

    async fn key_state(&self, request: &KeyedRequest, fingerprint: &[u8]) -> Result<Option<BeginResult>, OrderError> {
        let row: Option<KeyRow> = sqlx::query_as(
            "select fingerprint = sha256($3) as same_request, state, status_code, content_type, location, body,
                    greatest(extract(epoch from
                        least(deadline, seen_at + make_interval(secs => $4)) - now()), 0)::float8 as seconds_left
               from idempotency_keys left join replicas on id = owner where scope = $1 and key = $2",
        )
        .bind(request.scope)
        .bind(&request.key)
        .bind(fingerprint)
        .bind(GONE_AFTER.as_secs_f64())
        .fetch_optional(&self.pool)
        .await?;
        row.map(KeyRow::decode).transpose()
    }

    /// Records how an attempt ended; `false` if another attempt has taken the order over.
    ///
    /// # Errors
    /// The database failed; the order stays pending and is reconciled.
    pub async fn complete(&self, claim: &KeyClaim, completion: Completion) -> Result<bool, OrderError> {
        Ok(self.completions.run(CompletedOrder::new(claim, completion)).await?)
    }

    /// Claims at most `limit` keys of pending orders whose claim is overdue, or whose last attempt left them unresolved;
    /// those first that have been due for longest, so that an order that stays unresolved goes to the back. Orders for
    /// exactly the SKUs of one of `busy` are left out. Replicas never claim the same key.
    ///
    /// An order that this version cannot read is claimed, and not returned: it is tried again once its claim has fallen
    /// due. The first one is logged.
    ///
    /// # Errors
    /// The database failed; the keys stay overdue.
    pub async fn claim_overdue(
        &self,
        limit: i64,
        claim_duration: Duration,
        busy: &[&str],
    ) -> Result<Vec<OverdueOrder>, sqlx::Error> {
        let rows: Vec<OverdueRow> = sqlx::query_as(
            "with overdue as (
                select k.scope, k.key from idempotency_keys k
                 where k.state in ('in_flight', 'unresolved') and k.deadline < now()
                   and (select status from orders where id = k.order_id) = 'pending'
                   and (cardinality($4) = 0 or (select string_agg(sku, ',' order by sku)
                                                  from order_lines where order_id = k.order_id) <> all ($4))
                 order by k.deadline limit $1
                   for update of k skip locked
             ), mine as (
                update idempotency_keys k
                   set state = 'in_flight', attempt = k.attempt + 1, deadline = now() + make_interval(secs => $2),
                       owner = $3, unknown_since = case when k.state = 'in_flight' then now() else k.unknown_since end
                  from overdue
                 where k.scope = overdue.scope and k.key = overdue.key
                returning k.order_id, k.attempt
             )
             select mine.order_id, mine.attempt, 'over' as earlier_write, orders.strategy,
                    (select coalesce(string_agg(sku, ',' order by sku), '')
                       from order_lines where order_id = orders.id) as skus
               from mine join orders on orders.id = mine.order_id",
        )
        .bind(limit)
        .bind(claim_duration.as_secs_f64())
        .bind(self.replica)
        .bind(busy)
        .fetch_all(&self.pool)
        .await?;
        Ok(rows.into_iter().filter_map(OverdueRow::decode).collect())
    }

    /// Deletes at most `limit` keys of that age whose orders have ended, the oldest first: the same key then means a new
    /// order. The orders stay, and so do keys that somebody works on. A key is as old as the id of its order tells.
    ///
    /// # Errors
    /// The database failed; the keys stay until the next round.
    pub async fn delete_expired_keys(&self, limit: i64, older_than: Duration) -> Result<u64, sqlx::Error> {
        let deleted = sqlx::query(
            "with expired as (
                select k.scope, k.key from idempotency_keys k join orders o on o.id = k.order_id
                 where k.order_id < first_id_at(now() - make_interval(secs => $2))
                   and o.status <> 'pending' and k.state <> 'in_flight'
                 order by k.order_id limit $1
                   for update of k skip locked
             )
             delete from idempotency_keys k using expired where k.scope = expired.scope and k.key = expired.key",
        );
        let done = deleted.bind(limit).bind(older_than.as_secs_f64()).execute(&self.pool).await?;
        Ok(done.rows_affected())
    }
}
