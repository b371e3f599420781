//! Postgres ends without a checkpoint, as in a crash, and recovers from its log: every connection breaks, transactions in
//! flight are rolled back, committed ones remain. Both databases are on this server.
//!
//! Fired: orders were in flight when the process ended, and another process took its place.

use super::context::FaultContext;
use super::event::FaultEvent;
use super::spec::{FaultSpec, Needs, no_strategy};

pub(super) const SPEC: FaultSpec = FaultSpec {
    needs: Needs::OwnStack,
    makes_writes_stale: false,
    certain_to_oversell: no_strategy,
    why: "Transactions in flight are rolled back; session locks end with their sessions.",
    inject: |context| Box::pin(context.inject_while_busy(async |_| crash(context).await)),
};

async fn crash(context: &FaultContext<'_>) -> anyhow::Result<FaultEvent> {
    let mut postgres = context.servers()?.postgres.lock().await;
    let (from_ms, pid, in_flight) = (context.now_ms(), postgres.pid(), context.in_flight());
    postgres.restart_immediate().await?;
    let fired = in_flight > 0 && postgres.pid() != pid;
    Ok(context.event("postgres".to_owned(), from_ms, fired, format!("{in_flight} orders were in flight")))
}
