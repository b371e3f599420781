//! The simulated payment provider, with the table `payments`: one row for each
//! order, so that two authorisations of one order charge once.
//!
//! Absence: an order's payment is captured or voided in the statement that gives
//! the order its state (`idempotency`, `orders`): captured if and only if the
//! units are the order's. Only what such a statement could not see yet is settled here.

use std::time::Duration;

use postgres_pool::{Pool, PoolSettings};
use tokio::time::sleep;
use uuid::Uuid;

use crate::store::database::{Database, STATEMENT_TIMEOUT};

/// Authorises payments. Cheap to clone.
#[derive(Debug, Clone)]
pub struct PaymentProvider {
    pool: Pool,
    latency: Duration,
}

impl PaymentProvider {
    /// `latency` is how long the provider takes to authorise.
    ///
    /// # Errors
    /// The URL is not one of Postgres. Nothing is connected yet.
    pub fn new(database_url: &str, connections: u32, latency: Duration) -> Result<Self, sqlx::Error> {
        // The row is written while the provider works, so that a crash of this
        // service leaves a trace. A crash of Postgres may lose it: the pending
        // order survives, and when it is resolved its payment is settled with
        // it, whether the row is there or not.
        let pool = PoolSettings {
            application: "order-payments",
            connections,
            statement_timeout: STATEMENT_TIMEOUT,
            options: &[("synchronous_commit", "off")],
        };
        Ok(Self { pool: pool.pool(database_url)?, latency })
    }

    /// Authorises the payments of these orders concurrently, and records them
    /// together; a voided payment is authorised anew.
    ///
    /// # Cancel safety
    /// Must run to its end: an authorisation that is recorded after its order was
    /// settled stays open until the reconciler settles it.
    ///
    /// # Errors
    /// The authorisations were not recorded; no customer is charged.
    pub async fn authorise(&self, orders: &[Uuid]) -> Result<(), sqlx::Error> {
        let recorded = sqlx::query(
            "insert into payments (order_id, state) select order_id, 'authorised' from unnest($1::uuid[]) as of (order_id)
             on conflict (order_id) do update
                set state = 'authorised', authorised_at = now(), settled_at = null
              where payments.state = 'voided'",
        )
        .bind(orders)
        .execute(&self.pool);
        let (recorded, ()) = tokio::join!(recorded, sleep(self.latency));
        recorded.map(|_| ())
    }
}

impl Database {
    /// Settles authorisations that were recorded after their order had ended;
    /// the number of them.
    ///
    /// # Errors
    /// The database failed; they stay open until the next round.
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
