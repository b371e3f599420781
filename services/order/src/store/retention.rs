//! The SQL of retention: deletes orders that are over, with their lines and payments.

use std::time::Duration;

use crate::store::database::Database;

impl Database {
    /// Deletes at most `limit` orders that are over and older than that, the oldest first. An order is over if it is
    /// confirmed, cancelled or failed, its key has expired, and its payment is settled. Nothing younger than a day is
    /// deleted, whatever is asked for.
    ///
    /// # Errors
    /// The database failed, and nothing was deleted.
    pub async fn delete_old_orders(&self, limit: i64, older_than: Duration) -> Result<u64, sqlx::Error> {
        let delete = sqlx::query_scalar(
            "with allowed as materialized (
                select least(now() - make_interval(secs => $2), now() - interval '1 day') as before
             ), old as materialized (
                select o.id from orders o, allowed
                 where o.id < first_id_at(allowed.before) and o.updated_at < allowed.before
                   and o.status in ('confirmed', 'cancelled', 'failed')
                   and not exists (select from idempotency_keys k where k.order_id = o.id)
                   and not exists (select from payments p where p.order_id = o.id and p.state = 'authorised')
                 order by o.id limit $1
                   for update of o skip locked
             ), lines as (
                delete from order_lines l using old where l.order_id = old.id
             ), their_payments as (
                delete from payments p using old where p.order_id = old.id
             ), deleted as (
                delete from orders o using old where o.id = old.id returning o.id
             ), recorded as (
                insert into retention as r (forgotten_before)
                select before from allowed where exists (select from old)
                    on conflict (only_row)
                    do update set forgotten_before = greatest(r.forgotten_before, excluded.forgotten_before)
             )
             select count(*) from deleted",
        );
        let deleted: i64 = delete.bind(limit).bind(older_than.as_secs_f64()).fetch_one(&self.pool).await?;
        Ok(deleted.unsigned_abs())
    }
}
