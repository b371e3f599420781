//! Claims new keys and creates their pending orders, for several callers in one statement.

use std::time::Duration;

use postgres_pool::{Pool, Statement};
use uuid::Uuid;

use crate::store::key_records::KeyedRequest;

/// A key that is claimed if it does not exist, and the order that is created with it.
#[derive(Debug)]
pub(super) struct NewKey {
    pub(super) order_id: Uuid,
    /// Tells a retry from another request with the same key; stored as its SHA-256.
    pub(super) fingerprint: Vec<u8>,
    pub(super) claim_duration: Duration,
    pub(super) request: KeyedRequest,
}

/// The statement; `true` for each key that was new.
#[derive(Debug, Clone)]
pub(super) struct ClaimNewKeys {
    pub(super) pool: Pool,
    pub(super) replica: Uuid,
}

impl Statement for ClaimNewKeys {
    type Row = NewKey;
    type Result = bool;
    const NAME: &'static str = "claims of new keys";

    async fn execute(&self, rows: &[NewKey]) -> Result<Vec<bool>, sqlx::Error> {
        let lines = || rows.iter().flat_map(|row| row.request.order.lines.iter().map(|line| (row.order_id, line)));
        // Two statements that insert the same keys wait for each other, so both insert in the same order. Of two rows
        // with the same key, the first is inserted.
        let claimed: Vec<Uuid> = sqlx::query_scalar(
            "with asked as (
                select * from unnest($1::text[], $2::text[], $3::bytea[], $4::uuid[], $5::float8[], $6::text[],
                                     $7::text[], $8::text[])
                    as row (scope, key, fingerprint, order_id, claim_seconds, customer, strategy, traceparent)
             ), mine as (
                insert into idempotency_keys (scope, key, fingerprint, order_id, state, deadline, owner)
                select scope, key, sha256(fingerprint), order_id, 'in_flight',
                       now() + make_interval(secs => claim_seconds), $9
                  from asked order by scope collate \"C\", key collate \"C\"
                on conflict on constraint idempotency_keys_pk do nothing
                returning order_id
             ), ordered as (
                insert into orders (id, customer, strategy, idempotency_key, traceparent)
                select order_id, customer, strategy, key, traceparent from asked join mine using (order_id)
             ), lined as (
                insert into order_lines (order_id, sku, quantity)
                select order_id, sku, quantity
                  from unnest($10::uuid[], $11::text[], $12::bigint[]) as line (order_id, sku, quantity)
                  join mine using (order_id)
             )
             select order_id from mine",
        )
        .bind(texts(rows, |row| row.request.scope))
        .bind(texts(rows, |row| &row.request.key))
        .bind(rows.iter().map(|row| row.fingerprint.as_slice()).collect::<Vec<_>>())
        .bind(rows.iter().map(|row| row.order_id).collect::<Vec<_>>())
        .bind(rows.iter().map(|row| row.claim_duration.as_secs_f64()).collect::<Vec<_>>())
        .bind(texts(rows, |row| &row.request.order.customer))
        .bind(texts(rows, |row| row.request.strategy.name()))
        .bind(rows.iter().map(|row| row.request.traceparent.as_deref()).collect::<Vec<_>>())
        .bind(self.replica)
        .bind(lines().map(|(order_id, _)| order_id).collect::<Vec<_>>())
        .bind(lines().map(|(_, line)| line.sku.as_str()).collect::<Vec<_>>())
        .bind(lines().map(|(_, line)| line.quantity).collect::<Vec<_>>())
        .fetch_all(&self.pool)
        .await?;
        Ok(rows.iter().map(|row| claimed.contains(&row.order_id)).collect())
    }
}

fn texts<'a>(rows: &'a [NewKey], text: impl Fn(&'a NewKey) -> &'a str) -> Vec<&'a str> {
    rows.iter().map(text).collect()
}
