//! What the reconciler asks of the books: who is overdue, what is to be reviewed, what can be forgotten.
//! Invariant: replicas ask at the same time and never take the same order.

use std::time::Duration;

use uuid::Uuid;

use super::{
    orders::{Database, KeyClaim},
    rows::ClaimRow,
};
use crate::domain::error::OrderError;

impl Database {
    /// Takes over orders that nobody works on any more: their owner is overdue,
    /// or left them unresolved. Replicas never take the same one.
    ///
    /// # Errors
    /// The database is away.
    pub async fn claim_overdue(&self, at_most: i64, claim_duration: Duration) -> Result<Vec<KeyClaim>, OrderError> {
        let rows: Vec<ClaimRow> = sqlx::query_as(
            "with overdue as (
                select k.scope, k.key from idempotency_keys k join orders o on o.id = k.order_id
                 where o.status = 'pending' and k.state in ('in_flight', 'unresolved') and k.deadline < now()
                 order by o.created_at limit $1
                   for update of k skip locked
             ), mine as (
                update idempotency_keys k
                   set state = 'in_flight', attempt = k.attempt + 1, deadline = now() + make_interval(secs => $2)
                  from overdue
                 where k.scope = overdue.scope and k.key = overdue.key
                returning k.order_id, k.attempt
             )
             select mine.order_id, mine.attempt, true as maybe_sent, orders.strategy
               from mine join orders on orders.id = mine.order_id",
        )
        .bind(at_most)
        .bind(claim_duration.as_secs_f64())
        .fetch_all(&self.pool)
        .await?;
        rows.into_iter().map(ClaimRow::read).collect()
    }

    /// Held orders whose review is due; each is due again after `again_after`,
    /// unless it is concluded. Replicas never take the same one.
    ///
    /// # Errors
    /// The database is away.
    pub async fn take_orders_to_review(&self, at_most: i64, again_after: Duration) -> Result<Vec<Uuid>, sqlx::Error> {
        sqlx::query_scalar(
            "update orders set review_at = now() + make_interval(secs => $2)
              where id in (select id from orders where status = 'held' and review_at < now()
                            order by review_at limit $1 for update skip locked)
            returning id",
        )
        .bind(at_most)
        .bind(again_after.as_secs_f64())
        .fetch_all(&self.pool)
        .await
    }

    /// Forgets keys of that age whose orders ended: the same key means a new
    /// order then. Orders themselves stay.
    ///
    /// # Errors
    /// The database is away.
    pub async fn delete_expired_keys(&self, older_than: Duration) -> Result<u64, sqlx::Error> {
        let forgotten = sqlx::query(
            "delete from idempotency_keys k using orders o
              where o.id = k.order_id and o.status <> 'pending' and k.state <> 'in_flight'
                and k.created_at < now() - make_interval(secs => $1)",
        );
        let done = forgotten.bind(older_than.as_secs_f64()).execute(&self.pool).await?;
        Ok(done.rows_affected())
    }

    /// Settles authorisations that were written down after their order had ended.
    ///
    /// # Errors
    /// The database is away.
    pub async fn settle_open_payments(&self) -> Result<u64, sqlx::Error> {
        let settled = sqlx::query(
            "update payments
                set state = case when orders.status in ('held', 'confirmed') then 'captured' else 'voided' end,
                    settled_at = now()
               from orders
              where orders.id = payments.order_id and payments.state = 'authorised' and orders.status <> 'pending'",
        )
        .execute(&self.pool)
        .await?;
        Ok(settled.rows_affected())
    }
}
