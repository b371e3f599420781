//! The server of both databases becomes read-only for longer than a lease and stays at its address, as after a
//! fail-over: connections stay open, reads are answered, transactions that have begun end, and every later write is
//! refused with SQLSTATE 25006.
//!
//! Fired: a write over a new connection was refused with 25006, while orders were in flight.

use std::time::Duration;

use anyhow::Context as _;
use sqlx::{Connection as _, PgConnection};
use tokio::time::{sleep, timeout};

use super::context::FaultContext;
use super::event::FaultEvent;
use super::spec::{FaultSpec, Needs, no_strategy};
use super::steps::poll::POLL_INTERVAL;

/// Longer than any lock that was granted before.
const LASTS_IN_LEASES: f64 = 1.2;
/// Postgres reads its changed settings within this time; the rest is for slow machines.
const TAKES_EFFECT_WITHIN: Duration = Duration::from_secs(5);
const READ_ONLY: &str = "25006";

pub(super) const SPEC: FaultSpec = FaultSpec {
    needs: Needs::OwnStack,
    makes_writes_stale: false,
    certain_to_oversell: no_strategy,
    why: "A read-only server refuses every write and loses none; nothing is sold until it accepts writes again.",
    inject: |context| Box::pin(context.inject_while_busy(async |_| refuse_writes(context).await)),
};

async fn refuse_writes(context: &FaultContext<'_>) -> anyhow::Result<FaultEvent> {
    let _one_fault_at_a_time = context.servers()?.postgres.lock().await;
    let mut settings = PgConnection::connect(context.postgres).await.context("Postgres cannot be reached")?;
    let from_ms = context.now_ms();
    let changed = change(&mut settings, "alter system set default_transaction_read_only = on").await;
    let refused = becomes(context.postgres, Writes::Refused).await.is_ok();
    let in_flight = context.in_flight();
    sleep(context.lease.mul_f64(LASTS_IN_LEASES)).await;
    // The server accepts writes again before anything is reported.
    change(&mut settings, "alter system reset default_transaction_read_only").await?;
    becomes(context.postgres, Writes::Accepted).await.context("Postgres did not accept writes again")?;
    changed?;
    let writes = if refused { "writes refused" } else { "writes accepted all the time" };
    let observed = format!("{writes}, {in_flight} orders in flight");
    Ok(context.event("postgres".to_owned(), from_ms, refused && in_flight > 0, observed))
}

/// Changes a setting of the server. `ALTER SYSTEM` writes no table, so Postgres also runs it in a read-only session.
/// Sessions that are open apply the setting to their next transaction.
async fn change(settings: &mut PgConnection, statement: &'static str) -> Result<(), sqlx::Error> {
    sqlx::query(statement).execute(&mut *settings).await?;
    sqlx::query("select pg_reload_conf()").execute(settings).await.map(drop)
}

/// What the server does with a write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Writes {
    Accepted,
    Refused,
}

/// Waits until new connections are treated like this. The server reads its settings some time after it is told to.
async fn becomes(postgres: &str, expected: Writes) -> anyhow::Result<()> {
    let changed = async {
        while write(postgres).await? != expected {
            sleep(POLL_INTERVAL).await;
        }
        anyhow::Ok(())
    };
    timeout(TAKES_EFFECT_WITHIN, changed).await.context("the setting had no effect")?
}

/// A write of no row over a new connection.
async fn write(postgres: &str) -> Result<Writes, sqlx::Error> {
    let mut connection = PgConnection::connect(postgres).await?;
    let written = sqlx::query("update orders set id = id where false").execute(&mut connection).await;
    connection.close().await?;
    match written {
        Ok(_) => Ok(Writes::Accepted),
        Err(error) if error.as_database_error().is_some_and(|error| error.code().as_deref() == Some(READ_ONLY)) => {
            Ok(Writes::Refused)
        }
        Err(error) => Err(error),
    }
}
