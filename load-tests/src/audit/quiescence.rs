//! Waits until nothing is in flight, so that the databases do not change while the auditor reads them.
//!
//! Nothing is in flight when order has no order of unknown outcome and no open payment, inventory's lab has no paused
//! write without an outcome, and Postgres runs no statement for either service.
//! The first condition also covers writes whose answer was lost. Without a fence, order keeps such a write unresolved
//! while its connection is open and queries the reservation afterwards. With a fence, a newer claim resolves it: from
//! then on the old write can only be refused.

use std::fmt;
use std::time::Duration;

use anyhow::Context as _;
use serde::{Serialize, Serializer};
use strum::Display;
use tokio::time::{Instant, sleep};

use super::reader::Auditor;
use crate::cluster::lab_client::LabClient;

/// Between two polls. There is no event to wait for: the databases belong to other processes.
const POLL: Duration = Duration::from_millis(25);
/// So many quiescent polls in a row are required: one could fall between two statements of the same order.
const QUIESCENT_POLLS: u32 = 2;

/// How the wait ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Quiescence {
    /// Nothing is in flight.
    Reached,
    /// Something was still in flight at the end of the wait.
    NotReached(Unsettled),
}

/// What was still in flight at the end of a wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Unsettled {
    /// What was in flight.
    pub in_flight: InFlight,
    /// How long the auditor waited.
    pub waited: Duration,
}

/// Work that may still change a database.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Display)]
pub enum InFlight {
    /// Writes during which a replica was paused, and which were not attempted yet.
    #[strum(to_string = "{0} paused writes had no outcome")]
    PausedWrites(usize),
    /// Idempotency keys in flight or unresolved, and payments neither captured nor voided.
    #[strum(to_string = "{0} orders or payments were unresolved")]
    OrdersOrPayments(i64),
    /// Statements of the services in one of the databases.
    #[strum(to_string = "{0} statements were running")]
    Statements(i64),
}

impl fmt::Display for Unsettled {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} after a wait of {:?}", self.in_flight, self.waited)
    }
}

/// The text.
impl Serialize for Unsettled {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// Waits until nothing is in flight, for at most `limit`.
///
/// # Errors
/// A database or inventory does not answer.
pub async fn wait_until_quiescent(
    auditor: &Auditor,
    inventory: Option<&LabClient>,
    limit: Duration,
) -> anyhow::Result<Quiescence> {
    let deadline = Instant::now() + limit;
    let mut quiescent = 0;
    loop {
        match in_flight(auditor, inventory).await? {
            None => quiescent += 1,
            Some(_) => quiescent = 0,
        }
        if quiescent == QUIESCENT_POLLS {
            return Ok(Quiescence::Reached);
        }
        if Instant::now() >= deadline {
            return Ok(match in_flight(auditor, inventory).await? {
                None => Quiescence::Reached,
                Some(in_flight) => Quiescence::NotReached(Unsettled { in_flight, waited: limit }),
            });
        }
        sleep(POLL).await;
    }
}

async fn in_flight(auditor: &Auditor, inventory: Option<&LabClient>) -> anyhow::Result<Option<InFlight>> {
    if let Some(inventory) = inventory {
        for replica in 0..inventory.count() {
            let paused = inventory.paused_requests(replica).await?;
            let open = paused.iter().filter(|paused| paused.outcome.is_none()).count();
            if open > 0 {
                return Ok(Some(InFlight::PausedWrites(open)));
            }
        }
    }
    let orders = "select (select count(*) from idempotency_keys where state in ('in_flight', 'unresolved'))
                       + (select count(*) from payments where state = 'authorised')";
    let open: i64 =
        sqlx::query_scalar(orders).fetch_one(&auditor.order).await.context("unresolved orders could not be counted")?;
    if open > 0 {
        return Ok(Some(InFlight::OrdersOrPayments(open)));
    }
    let statements = "select count(*) from pg_stat_activity
                       where datname = current_database() and pid <> pg_backend_pid()
                         and backend_type = 'client backend' and state <> 'idle'
                         and application_name <> 'auditor'";
    for pool in [&auditor.inventory, &auditor.order] {
        let running: i64 =
            sqlx::query_scalar(statements).fetch_one(pool).await.context("pg_stat_activity could not be read")?;
        if running > 0 {
            return Ok(Some(InFlight::Statements(running)));
        }
    }
    Ok(None)
}
