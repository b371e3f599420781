//! The simulated payment provider: authorise before the reserve, capture when
//! the order stands, void when it does not. Its books are the `payments` table,
//! one row an order, so asking twice for the same order charges once.
//!
//! Capturing and voiding are not here but in `orders_db`, in the transaction
//! that gives the order its final state: captured if and only if it stands.

use std::{str::FromStr, time::Duration};

use sqlx::{
    PgPool,
    postgres::{PgConnectOptions, PgPoolOptions},
};
use tokio::time::sleep;
use uuid::Uuid;

/// Whoever moves the money. Cheap to clone.
#[derive(Debug, Clone)]
pub struct PaymentProvider {
    books: PgPool,
    latency: Duration,
}

impl PaymentProvider {
    /// `latency` is how long the provider thinks about an authorisation.
    ///
    /// # Errors
    /// The URL cannot be read. Nothing is connected yet.
    pub fn new(database_url: &str, connections: u32, latency: Duration) -> Result<Self, sqlx::Error> {
        // An authorisation is written down while the provider thinks, so that a
        // crash leaves a trace. It need not survive a crash of Postgres itself:
        // the pending order does, and whoever resolves that one settles the
        // payment with it, writing the capture down even where the crash took
        // the authorisation.
        let options = PgConnectOptions::from_str(database_url)?
            .application_name("order-payments")
            .options([("synchronous_commit", "off"), ("statement_timeout", "2000")]);
        let books = PgPoolOptions::new()
            .max_connections(connections)
            .acquire_timeout(crate::store::orders::ACQUIRE_TIMEOUT)
            .connect_lazy_with(options);
        Ok(Self { books, latency })
    }

    /// Authorises the payments of these orders, side by side; again, if one is
    /// authorised already. They are written down together.
    ///
    /// # Cancel safety
    /// Must run to its end: an authorisation that lands after the order was
    /// settled would stay open until the reconciler finds it.
    ///
    /// # Errors
    /// The books could not be written. Nobody is charged then.
    pub async fn authorise(&self, orders: &[Uuid]) -> Result<(), sqlx::Error> {
        let written = sqlx::query(
            "insert into payments (order_id, state) select order_id, 'authorised' from unnest($1::uuid[]) as of (order_id)
             on conflict (order_id) do update
                set state = 'authorised', authorised_at = now(), settled_at = null
              where payments.state = 'voided'",
        )
        .bind(orders)
        .execute(&self.books);
        let (written, ()) = tokio::join!(written, sleep(self.latency));
        written.map(|_| ())
    }
}
