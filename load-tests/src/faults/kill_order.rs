//! An order replica is killed by SIGKILL while orders are in flight, and restarted at once. Its locks remain until their
//! leases end, its idempotency keys until they fall due; then a retry or the reconciler completes its orders.
//!
//! Fired: the process ended, and the connection of a customer broke.

use std::time::Duration;

use anyhow::Context as _;
use tokio::time::{sleep, timeout};

use super::context::FaultContext;
use super::event::FaultEvent;
use super::injection::Injection;
use super::spec::{FaultSpec, Needs, no_strategy};
use super::steps::poll::POLL_INTERVAL;

/// A connection to a killed process breaks at once; the rest is for slow machines.
const BREAKS_WITHIN: Duration = Duration::from_secs(5);

pub(super) const SPEC: FaultSpec = FaultSpec {
    needs: Needs::OwnStack,
    makes_writes_stale: false,
    certain_to_oversell: no_strategy,
    why: "A killed holder sends no further write; a write that it had sent ends within the lease.",
    inject: |context| Box::pin(context.inject_while_busy(async |injection| kill(context, injection).await)),
};

async fn kill(context: &FaultContext<'_>, injection: &Injection) -> anyhow::Result<FaultEvent> {
    let process = context.order_replica(injection)?;
    let replica = process.replica().with_context(|| format!("{}: not a child of this process", process.name()))?;
    let (from_ms, before) = (context.now_ms(), context.tally().silences());
    let broken = async {
        while context.tally().silences() == before {
            sleep(POLL_INTERVAL).await;
        }
    };
    let pid = process.pid();
    replica.kill().await?;
    let broken = timeout(BREAKS_WITHIN, async {
        tokio::select! { () = broken => true, () = context.sale_ended() => false }
    });
    let (broken, restarted) = tokio::join!(broken, replica.restart());
    restarted?;
    let broken = broken.unwrap_or(false);
    let observed = if broken { "customers lost their connection" } else { "no customer lost a connection" };
    let fired = broken && process.pid() != pid;
    Ok(context.event(process.name().to_owned(), from_ms, fired, observed.to_owned()))
}
