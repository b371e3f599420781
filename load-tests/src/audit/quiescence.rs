//! Waiting until nothing is in flight, so that the snapshot hold still while they are read.
//!
//! Nothing in flight means: the order service has no order of which it does not know the end, and no payment open;
//! inventory's lab has no parked write without an outcome; and Postgres runs no statement for either service.
//! The first of these covers writes that nobody waits for any more. Under a strategy without a fence, order calls an
//! unheard write unresolved for as long as its connection is kept open, and looks it up after that. Under a fenced one
//! it is resolved by a newer claim, after which the old write can only be refused.

use std::time::Duration;

use anyhow::Context as _;
use tokio::time::{Instant, sleep};

use super::reader::Auditor;
use crate::cluster::lab_client::LabClient;

/// Between two looks. There is no event to wait for: the snapshot belong to other processes.
const LOOK_AGAIN: Duration = Duration::from_millis(25);
/// So many quiescence looks in a row: one could fall between two statements of the same order.
const LOOKS: u32 = 2;

/// How the wait ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Quiescence {
    /// Nothing is in flight.
    Reached,
    /// Something still was when the wait was over; told for the report.
    NotReached(String),
}

/// Waits until nothing is in flight, at most for `limit`.
///
/// # Errors
/// A database or inventory is not reached.
pub async fn wait_until_quiescent(
    auditor: &Auditor,
    inventory: Option<&LabClient>,
    limit: Duration,
) -> anyhow::Result<Quiescence> {
    let deadline = Instant::now() + limit;
    let mut quiescence = 0;
    loop {
        match in_flight(auditor, inventory).await? {
            None => quiescence += 1,
            Some(_) => quiescence = 0,
        }
        if quiescence == LOOKS {
            return Ok(Quiescence::Reached);
        }
        if Instant::now() >= deadline {
            let what = in_flight(auditor, inventory).await?;
            return Ok(
                what.map_or(Quiescence::Reached, |what| Quiescence::NotReached(format!("{what} after {limit:?}")))
            );
        }
        sleep(LOOK_AGAIN).await;
    }
}

async fn in_flight(auditor: &Auditor, inventory: Option<&LabClient>) -> anyhow::Result<Option<String>> {
    if let Some(inventory) = inventory {
        for replica in 0..inventory.count() {
            let parked = inventory.paused_requests(replica).await?;
            let open = parked.iter().filter(|parked| parked.outcome.is_none()).count();
            if open > 0 {
                return Ok(Some(format!("{open} paused writes were not attempted yet")));
            }
        }
    }
    let orders = "select (select count(*) from idempotency_keys where state in ('in_flight', 'unresolved'))
                       + (select count(*) from payments where state = 'authorised')";
    let open: i64 =
        sqlx::query_scalar(orders).fetch_one(&auditor.order).await.context("the orders could not be read")?;
    if open > 0 {
        return Ok(Some(format!("{open} orders or payments are unresolved")));
    }
    let statements = "select count(*) from pg_stat_activity
                       where datname = current_database() and pid <> pg_backend_pid()
                         and backend_type = 'client backend' and state <> 'idle'
                         and application_name <> 'auditor'";
    for pool in [&auditor.inventory, &auditor.order] {
        let running: i64 =
            sqlx::query_scalar(statements).fetch_one(pool).await.context("pg_stat_activity could not be read")?;
        if running > 0 {
            return Ok(Some(format!("{running} statements are running")));
        }
    }
    Ok(None)
}
