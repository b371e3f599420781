//! The tables `orders` and `order_lines`, once an order exists. An order is
//! created and completed together with its key, in `idempotency`.

use std::time::Duration;

use contract::ProblemCode;
use sqlx::{FromRow, types::Json};
use uuid::Uuid;

use crate::{
    domain::{
        error::OrderError,
        order::{Order, OrderLine, OrderStatus, Reservation},
    },
    store::{database::Database, key_records::stored_strategy},
};

#[derive(FromRow)]
struct OrderRow {
    id: Uuid,
    customer: String,
    status: String,
    strategy: String,
    reservation: Option<Json<Reservation>>,
    lines: Json<Vec<OrderLine>>,
}

impl OrderRow {
    fn decode(self) -> Result<Order, OrderError> {
        let Self { id, customer, status, strategy, reservation, lines } = self;
        Ok(Order {
            id,
            customer,
            status: status.parse().map_err(|_| OrderError::Defect("a stored order has an unknown status"))?,
            strategy: stored_strategy(&strategy)?,
            lines: lines.0,
            reservation: reservation.map(|Json(reservation)| reservation),
        })
    }
}

impl Database {
    /// # Errors
    /// `Database`, or `NoSuchOrder`.
    pub async fn order(&self, id: Uuid) -> Result<Order, OrderError> {
        let row: Option<OrderRow> = sqlx::query_as(
            "select id, customer, status, strategy, reservation,
                    (select jsonb_agg(jsonb_build_object('sku', sku, 'quantity', quantity) order by sku collate \"C\")
                       from order_lines where order_id = id) as lines
               from orders where id = $1",
        )
        .bind(id)
        .fetch_optional(&self.pool)
        .await?;
        row.ok_or(OrderError::NoSuchOrder)?.decode()
    }

    /// Schedules a review of a held order, in case the request that changes it
    /// does not finish.
    ///
    /// # Errors
    /// The database failed; no review was scheduled.
    pub async fn review_after(&self, id: Uuid, delay: Duration) -> Result<(), sqlx::Error> {
        let scheduled = sqlx::query(
            "update orders set review_at = least(review_at, now() + make_interval(secs => $2))
              where id = $1 and status = 'held'",
        );
        scheduled.bind(id).bind(delay.as_secs_f64()).execute(&self.pool).await.map(|_| ())
    }

    /// Takes at most `limit` held orders whose review is due, those first that have been due for longest. Unless it is
    /// concluded, an order is due again after a pause: as long as its hold is over already, at least `shortest` and at
    /// most `longest`. Replicas never take the same order.
    ///
    /// # Errors
    /// The database failed; the orders stay due.
    pub async fn take_orders_to_review(
        &self,
        limit: i64,
        shortest: Duration,
        longest: Duration,
    ) -> Result<Vec<Uuid>, sqlx::Error> {
        sqlx::query_scalar(
            "update orders
                set review_at = now() + greatest(make_interval(secs => $2), least(make_interval(secs => $3),
                                                 now() - (reservation ->> 'expires_at')::timestamptz))
              where id in (select id from orders where status = 'held' and review_at < now()
                            order by review_at limit $1 for update skip locked)
            returning id",
        )
        .bind(limit)
        .bind(shortest.as_secs_f64())
        .bind(longest.as_secs_f64())
        .fetch_all(&self.pool)
        .await
    }

    /// Gives a held order its final state; the payment of a cancelled order is
    /// voided with it. `false` if the order was not held any more.
    ///
    /// # Errors
    /// The database failed; the order is reviewed later.
    pub async fn conclude(
        &self,
        id: Uuid,
        status: OrderStatus,
        reservation: &Reservation,
        failure: Option<ProblemCode>,
    ) -> Result<bool, sqlx::Error> {
        let concluded: i64 = sqlx::query_scalar(
            "with concluded as (
                update orders
                   set status = $2, reservation = $3, failure = $4, review_at = null, updated_at = now()
                 where id = $1 and status = 'held'
                returning id
             ), refunded as (
                update payments set state = 'voided', settled_at = now()
                  from concluded where payments.order_id = concluded.id and $2 = 'cancelled'
             )
             select count(*) from concluded",
        )
        .bind(id)
        .bind(status.name())
        .bind(Json(reservation))
        .bind(failure.map(ProblemCode::as_str))
        .fetch_one(&self.pool)
        .await?;
        Ok(concluded == 1)
    }
}
