//! All the SQL of the auditor, except its live sums.
//!
//! Invariant: every session is read-only, whatever role it logs in as.
//! Absence: nothing is judged here.

use std::collections::HashMap;
use std::str::FromStr as _;
use std::time::Duration;

use anyhow::Context as _;
use contract::ReservationStatus;
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use sqlx::{PgConnection, PgPool};
use time::OffsetDateTime;
use tokio::time::timeout;
use uuid::Uuid;

use super::snapshot::{
    CarriedForward, DbSnapshot, LedgerRow, Order, Refusal, Reservation, ReservationLine, Retention, StockRow,
};
use crate::cluster::target::Databases;

const ACQUIRE_WITHIN: Duration = Duration::from_secs(5);
const CONNECTIONS: u32 = 2;
const ONE_MOMENT: &str = "begin isolation level repeatable read, read only";
/// Eight statements, each of which the server ends after 30 s; a silent connection never answers.
const READ_WITHIN: Duration = Duration::from_mins(3);

/// Which SKUs are read.
#[derive(Debug, Clone)]
pub enum Scope {
    /// These SKUs, and every order and reservation with a line of them.
    Skus(Vec<String>),
    /// All SKUs.
    Everything,
}

impl Scope {
    fn skus(&self) -> Option<&[String]> {
        match self {
            Self::Skus(skus) => Some(skus),
            Self::Everything => None,
        }
    }
}

/// Read-only sessions of both databases. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Auditor {
    pub(super) inventory: PgPool,
    pub(super) order: PgPool,
}

#[derive(sqlx::FromRow)]
struct ReservationRow {
    id: Uuid,
    order_id: Uuid,
    #[sqlx(try_from = "String")]
    status: StoredStatus,
    sku: String,
    quantity: i64,
}

/// Decodes the text that inventory stores.
struct StoredStatus(ReservationStatus);

impl TryFrom<String> for StoredStatus {
    type Error = strum::ParseError;

    fn try_from(text: String) -> Result<Self, strum::ParseError> {
        text.parse().map(Self)
    }
}

impl Auditor {
    /// Connects to both databases.
    ///
    /// # Errors
    /// A database does not answer.
    pub async fn connect(databases: &Databases) -> anyhow::Result<Self> {
        Ok(Self {
            inventory: pool(&databases.inventory)
                .await
                .context("the auditor cannot connect to the inventory database")?,
            order: pool(&databases.order).await.context("the auditor cannot connect to the order database")?,
        })
    }

    /// Reads both databases. Call it when nothing is in flight: they are not read at the same instant.
    ///
    /// # Errors
    /// A database does not answer, or has another schema.
    pub async fn read(&self, scope: &Scope) -> anyhow::Result<DbSnapshot> {
        let skus = scope.skus();
        let read = async {
            // Old rows may be deleted meanwhile: one moment of each database.
            let mut inventory = self.inventory.begin_with(ONE_MOMENT).await?;
            let mut order = self.order.begin_with(ONE_MOMENT).await?;
            let retention = Retention {
                orders_before: forgotten_before(&mut order).await?,
                reservations_before: forgotten_before(&mut inventory).await?,
            };
            Ok::<_, sqlx::Error>(DbSnapshot {
                stock: stock(&mut inventory, skus).await?,
                ledger: ledger(&mut inventory, skus).await?,
                reservations: reservations(&mut inventory, skus).await?,
                orders: orders(&mut order, skus).await?,
                refusals: refusals(&mut inventory, skus).await?,
                carried_forward: carried_forward(&mut inventory, skus).await?,
                retention,
            })
        };
        let read = timeout(READ_WITHIN, read).await;
        read.with_context(|| format!("the databases did not answer within {READ_WITHIN:?}"))?
            .context("the databases could not be read")
    }

    /// The `seq` of the last row of the ledger, 0 if it is empty.
    ///
    /// # Errors
    /// The database does not answer.
    pub async fn last_seq(&self) -> Result<i64, sqlx::Error> {
        sqlx::query_scalar("select coalesce(max(seq), 0) from stock_ledger").fetch_one(&self.inventory).await
    }

    /// The time by the clock of the inventory database, to which the times in its rows relate.
    ///
    /// # Errors
    /// The database does not answer.
    pub async fn clock(&self) -> Result<OffsetDateTime, sqlx::Error> {
        sqlx::query_scalar("select clock_timestamp()").fetch_one(&self.inventory).await
    }

    /// Whether units of `sku` were reserved after row `seq` of the ledger.
    ///
    /// # Errors
    /// The database does not answer.
    pub async fn sold_since(&self, sku: &str, seq: i64) -> Result<bool, sqlx::Error> {
        let query = "select exists (select from stock_ledger where sku = $1 and seq > $2 and kind = 'reserve')";
        sqlx::query_scalar(query).bind(sku).bind(seq).fetch_one(&self.inventory).await
    }

    /// Those of these idempotency keys whose final answer is stored.
    ///
    /// # Errors
    /// The database does not answer.
    pub async fn finished(&self, keys: &[String]) -> Result<Vec<String>, sqlx::Error> {
        let query = "select key from idempotency_keys where key = any($1) and state = 'done'";
        sqlx::query_scalar(query).bind(keys).fetch_all(&self.order).await
    }

    /// How many payments of this SKU were authorised longer ago than `longer_than` and are not settled.
    ///
    /// # Errors
    /// The database does not answer.
    pub async fn payments_under_way(&self, sku: &str, longer_than: Duration) -> Result<i64, sqlx::Error> {
        let query = "select count(*) from payments p join order_lines l on l.order_id = p.order_id
                      where l.sku = $1 and p.state = 'authorised' and p.authorised_at < now() - make_interval(secs => $2)";
        sqlx::query_scalar(query).bind(sku).bind(longer_than.as_secs_f64()).fetch_one(&self.order).await
    }
}

async fn stock(database: &mut PgConnection, skus: Option<&[String]>) -> Result<Vec<StockRow>, sqlx::Error> {
    let query = "select sku, on_hand, available from stock where $1::text[] is null or sku = any($1) order by sku";
    sqlx::query_as(query).bind(skus).fetch_all(database).await
}

async fn ledger(database: &mut PgConnection, skus: Option<&[String]>) -> Result<Vec<LedgerRow>, sqlx::Error> {
    let query = "select seq, sku, delta, before, after, fence, kind, reservation_id, xmin::text as transaction, at
                  from stock_ledger where $1::text[] is null or sku = any($1) order by seq";
    sqlx::query_as(query).bind(skus).fetch_all(database).await
}

async fn reservations(database: &mut PgConnection, skus: Option<&[String]>) -> Result<Vec<Reservation>, sqlx::Error> {
    let query = "select r.id, r.order_id, r.status, l.sku, l.quantity
                  from reservations r join reservation_lines l on l.reservation_id = r.id
                 where $1::text[] is null
                    or exists (select from reservation_lines o where o.reservation_id = r.id and o.sku = any($1))
                 order by r.id, l.sku";
    let rows: Vec<ReservationRow> = sqlx::query_as(query).bind(skus).fetch_all(database).await?;
    let (mut all, mut known): (Vec<Reservation>, HashMap<Uuid, usize>) = (Vec::new(), HashMap::new());
    for ReservationRow { id, order_id, status, sku, quantity } in rows {
        let at = *known.entry(id).or_insert_with(|| {
            all.push(Reservation { id, order_id, status: status.0, lines: Vec::new() });
            all.len() - 1
        });
        all[at].lines.push(ReservationLine { sku, quantity });
    }
    Ok(all)
}

async fn orders(database: &mut PgConnection, skus: Option<&[String]>) -> Result<Vec<Order>, sqlx::Error> {
    let query = "select o.id, o.status, o.idempotency_key, p.state as payment
                  from orders o left join payments p on p.order_id = o.id
                 where $1::text[] is null
                    or exists (select from order_lines l where l.order_id = o.id and l.sku = any($1))";
    sqlx::query_as(query).bind(skus).fetch_all(database).await
}

async fn refusals(database: &mut PgConnection, skus: Option<&[String]>) -> Result<Vec<Refusal>, sqlx::Error> {
    let query = "select sku, token, current, step, order_id, at from fence_refusals
                 where $1::text[] is null or sku = any($1) order by id";
    sqlx::query_as(query).bind(skus).fetch_all(database).await
}

async fn carried_forward(
    database: &mut PgConnection,
    skus: Option<&[String]>,
) -> Result<Vec<CarriedForward>, sqlx::Error> {
    let query = "select sku, last_seq, available, fence, put_units, taken_units, oversold, sold_units
                  from stock_carried_forward where $1::text[] is null or sku = any($1) order by sku";
    sqlx::query_as(query).bind(skus).fetch_all(database).await
}

async fn forgotten_before(database: &mut PgConnection) -> Result<Option<OffsetDateTime>, sqlx::Error> {
    sqlx::query_scalar("select forgotten_before from retention").fetch_optional(database).await
}

async fn pool(url: &str) -> Result<PgPool, sqlx::Error> {
    let options = PgConnectOptions::from_str(url)?
        .application_name("auditor")
        .options([("default_transaction_read_only", "on"), ("statement_timeout", "30s")]);
    PgPoolOptions::new().max_connections(CONNECTIONS).acquire_timeout(ACQUIRE_WITHIN).connect_with(options).await
}
