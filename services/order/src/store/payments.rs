//! The simulated payment provider, with the table `payments`: one row for each
//! order, so that two authorisations of one order charge once.
//!
//! Absence: an order's payment is captured or voided in the statement that gives
//! the order its state (`idempotency`, `orders`): captured if and only if the
//! units are the order's. Only what such a statement could not see yet is settled here.

use std::{
    collections::{BTreeSet, HashMap},
    time::Duration,
};

use contract::Sku;
use futures_util::future::join_all;
use postgres_pool::{Pool, PoolSettings, Shared, SharedError, Statement};
use sqlx::FromRow;
use tokio::time::{Instant, sleep_until, timeout_at};
use uuid::Uuid;

use crate::store::{
    database::{Database, STATEMENT_TIMEOUT},
    slow_payments::SlowPayments,
};

/// Authorises payments. Cheap to clone.
#[derive(Debug, Clone)]
pub struct PaymentProvider {
    authorisations: Shared<Authorise>,
    latency: Duration,
    limit: Duration,
    /// What the lab adds to the latency.
    pub slow: SlowPayments,
}

/// Records that authorisations have begun, those of one attempt in each row; the result is how long ago each order's began.
/// An order that is paid for is left out.
#[derive(Debug, Clone)]
struct Authorise {
    pool: Pool,
}

#[derive(FromRow)]
struct AuthorisationRow {
    order_id: Uuid,
    age_seconds: f64,
}

impl Statement for Authorise {
    type Row = Vec<Uuid>;
    type Result = Vec<(Uuid, Duration)>;
    const NAME: &'static str = "authorisations of payments";

    async fn execute(&self, rows: &[Vec<Uuid>]) -> Result<Vec<Self::Result>, sqlx::Error> {
        // In one order, each once: two statements with the same orders cannot deadlock, nor one with itself.
        let orders: BTreeSet<_> = rows.iter().flatten().copied().collect();
        let begun: Vec<AuthorisationRow> = sqlx::query_as(
            "insert into payments (order_id, state) select order_id, 'authorised' from unnest($1::uuid[]) as of (order_id)
             on conflict (order_id) do update
                set state = 'authorised', settled_at = null,
                    authorised_at = case payments.state when 'voided' then now() else payments.authorised_at end
              where payments.state in ('voided', 'authorised')
             returning order_id, extract(epoch from now() - authorised_at)::float8 as age_seconds",
        )
        .bind(orders.into_iter().collect::<Vec<_>>())
        .fetch_all(&self.pool)
        .await?;
        let ages: HashMap<_, _> = begun.into_iter().map(|row| (row.order_id, row.age())).collect();
        let of = |orders: &Vec<Uuid>| orders.iter().filter_map(|order| Some((*order, *ages.get(order)?))).collect();
        Ok(rows.iter().map(of).collect())
    }
}

impl AuthorisationRow {
    fn age(&self) -> Duration {
        Duration::try_from_secs_f64(self.age_seconds).unwrap_or_default()
    }
}

impl PaymentProvider {
    /// `latency` is how long the provider takes to authorise; an order waits for at most `limit`.
    ///
    /// # Errors
    /// The URL is not one of Postgres. Nothing is connected yet.
    pub fn new(database_url: &str, connections: u32, latency: Duration, limit: Duration) -> Result<Self, sqlx::Error> {
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
        let authorisations = Shared::new(Authorise { pool: pool.pool(database_url)? });
        Ok(Self { authorisations, latency, limit, slow: SlowPayments::default() })
    }

    /// How long an order waits for the authorisation of its payment.
    pub fn limit(&self) -> Duration {
        self.limit
    }

    /// Authorises the payments of these orders, which are for the same SKUs, concurrently, and records them
    /// together. An authorisation that an earlier attempt began, here or in another process, is joined, and
    /// its time counts; a voided payment is authorised anew. Returns the orders whose limit passed first.
    ///
    /// # Cancel safety
    /// The authorisations go on; the next call joins them. One that is recorded after its order was settled
    /// stays open until the reconciler settles it.
    ///
    /// # Errors
    /// The authorisations were not recorded; no customer is charged.
    pub async fn authorise(&self, orders: &[Uuid], skus: &[Sku]) -> Result<Vec<Uuid>, SharedError> {
        let asked = Instant::now();
        let begun = self.authorisations.run(orders.to_vec()).await?;
        let answers = begun.into_iter().map(|(order_id, age)| async move {
            let begun = asked.checked_sub(age).unwrap_or(asked);
            let answer = async {
                sleep_until(begun + self.latency).await;
                self.slow.delay(skus, begun + self.latency).await;
            };
            timeout_at(begun + self.limit, answer).await.is_err().then_some(order_id)
        });
        Ok(join_all(answers).await.into_iter().flatten().collect())
    }
}

impl Database {
    /// Settles at most `limit` authorisations that were recorded after their order had ended, the oldest first; the
    /// number of them. Those that somebody works on at this moment are left out.
    ///
    /// # Errors
    /// The database failed; they stay open until the next round.
    pub async fn settle_open_payments(&self, limit: i64) -> Result<u64, sqlx::Error> {
        // The order's row is locked as well: a retry that begins meanwhile authorises its payment after this.
        let settled = sqlx::query(
            "with open as (
                select p.order_id, o.status from payments p join orders o on o.id = p.order_id
                 where p.state = 'authorised' and o.status <> 'pending'
                 order by p.authorised_at limit $1
                   for update of p skip locked for share of o skip locked
             )
             update payments
                set state = case when open.status in ('held', 'confirmed') then 'captured' else 'voided' end,
                    settled_at = now()
               from open where payments.order_id = open.order_id",
        )
        .bind(limit)
        .execute(&self.pool)
        .await?;
        Ok(settled.rows_affected())
    }
}
