//! Fills the tables of both services with orders of the past, so that it shows whether an order costs more where there are
//! many.
//!
//! Absence: filled SKUs have no row of stock, and nobody orders them; an audit of such a database would not pass.

use std::time::Duration;

use anyhow::Context as _;
use sqlx::ConnectOptions as _;
use sqlx::postgres::PgConnectOptions;
use tokio::time::Instant;

use crate::cluster::stack::Stack;
use crate::interrupt::Interrupt;

const ORDERS: &str = include_str!("fill_orders.sql");
const INVENTORY: &str = include_str!("fill_inventory.sql");
/// Orders of one statement.
const BATCH: u64 = 50_000;
const REPORT_EVERY: Duration = Duration::from_secs(5);

/// Fills each table with so many rows. An interrupt ends it early.
///
/// # Errors
/// A database does not answer.
pub(super) async fn fill(stack: &Stack, orders: u64, interrupt: &Interrupt) -> anyhow::Result<()> {
    let databases = &stack.target.postgres;
    let filled = fill_one(&databases.order, ORDERS, "orders", orders, interrupt);
    let others = fill_one(&databases.inventory, INVENTORY, "reservations", orders, interrupt);
    tokio::try_join!(filled, others).map(drop)
}

async fn fill_one(
    url: &str,
    statement: &'static str,
    name: &str,
    rows: u64,
    interrupt: &Interrupt,
) -> anyhow::Result<()> {
    let context = || format!("{rows} {name} of the past could not be written");
    // Its statements are slow, and no line for each of them is wanted.
    let options = url.parse::<PgConnectOptions>()?.disable_statement_logging();
    let mut database = options.connect().await.with_context(context)?;
    // The triggers let nobody write past the functions of the protocol.
    sqlx::raw_sql("set session_replication_role = replica").execute(&mut database).await.with_context(context)?;
    let mut reported = Instant::now();
    for first in (1..=rows).step_by(usize::try_from(BATCH)?) {
        if interrupt.by().is_some() {
            return Ok(());
        }
        let last = rows.min(first + BATCH - 1);
        let fill =
            sqlx::query(statement).bind(i64::try_from(first)?).bind(i64::try_from(last)?).bind(i64::try_from(rows)?);
        fill.execute(&mut database).await.with_context(context)?;
        if reported.elapsed() >= REPORT_EVERY {
            eprintln!("{last} of {rows} {name} of the past");
            reported = Instant::now();
        }
    }
    // As autovacuum would have done long ago.
    for statement in ["vacuum analyze", "checkpoint"] {
        sqlx::raw_sql(statement).execute(&mut database).await.with_context(context)?;
    }
    Ok(())
}
