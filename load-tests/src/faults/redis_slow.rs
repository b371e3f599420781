//! Lock nodes take everything in and answer much later: `CLIENT PAUSE`. In turn a minority, which must cost nobody
//! anything, and a majority, without which nobody may be granted the lock. What was asked meanwhile is done afterwards,
//! when whoever asked has long given up.
//!
//! Fired means: every one of them left a question unanswered that it answers at once otherwise, while orders were on
//! their way.

use std::time::Duration;

use futures_util::future::{join_all, try_join_all};

use super::lock_probe::silent;
use super::redis_majority_down::names;
use super::{FaultContext, FaultEvent};
use crate::scenario::plan::Injection;

/// Longer than any lock client waits for a node, shorter than what its orders wait for the lock.
const SLOW_IN_LEASES: f64 = 1.2;

pub(super) async fn inject(context: &FaultContext<'_>) -> anyhow::Result<Vec<FaultEvent>> {
    context.each_while_busy(async |injection| slow(context, injection).await).await
}

async fn slow(context: &FaultContext<'_>, injection: &Injection) -> anyhow::Result<FaultEvent> {
    let servers = context.servers()?;
    let count = if injection.number.is_multiple_of(2) { servers.quorum() - 1 } else { servers.quorum() };
    let picked: Vec<_> = (0..count).map(|step| (injection.replica + step) % servers.redis.len()).collect();
    let nodes = join_all(picked.iter().map(|&node| servers.redis[node].lock())).await;
    let (from_ms, slow) = (context.now_ms(), context.lease.mul_f64(SLOW_IN_LEASES));
    let ms = slow.as_millis().to_string();
    let pause = ["CLIENT", "PAUSE", &ms, "ALL"];
    try_join_all(nodes.iter().map(|node| node.command(&pause))).await?;
    let within = slow.min(Duration::from_millis(200));
    let silences = join_all(nodes.iter().map(|node| silent(node.addr(), b"PING\r\n", within))).await;
    let in_flight = context.in_flight();
    tokio::time::sleep(slow).await;
    let fired = silences.iter().all(|silent| *silent) && in_flight > 0;
    Ok(context.events(names(&picked), from_ms, fired, format!("silent while {in_flight} orders were on their way")))
}
