//! An inventory replica is killed by SIGKILL while orders are in flight, and restarted at once. Postgres rolls back the
//! write that the replica had begun, or has committed it without an answer: order must resolve which.
//!
//! Fired: the process ended while orders were in flight, and another process took its place.

use anyhow::Context as _;

use super::context::FaultContext;
use super::event::FaultEvent;
use super::injection::Injection;
use super::spec::{FaultSpec, Needs, no_strategy};

pub(super) const SPEC: FaultSpec = FaultSpec {
    needs: Needs::OwnStack,
    makes_writes_stale: false,
    certain_to_oversell: no_strategy,
    why: "A write is rolled back or committed as a whole; no other order is granted the lock before the lease ends.",
    inject: |context| Box::pin(context.inject_while_busy(async |injection| kill(context, injection).await)),
};

async fn kill(context: &FaultContext<'_>, injection: &Injection) -> anyhow::Result<FaultEvent> {
    let process = context.inventory_replica(injection)?;
    let replica = process.replica().with_context(|| format!("{}: not a child of this process", process.name()))?;
    let (from_ms, pid) = (context.now_ms(), process.pid());
    replica.kill().await?;
    let in_flight = context.in_flight();
    replica.restart().await?;
    let fired = in_flight > 0 && process.pid() != pid;
    Ok(context.event(process.name().to_owned(), from_ms, fired, format!("{in_flight} orders were in flight")))
}
