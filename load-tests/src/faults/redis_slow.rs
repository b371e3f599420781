//! Lock nodes take everything in and answer much later: `CLIENT PAUSE`. In turn a minority, which must cost nobody
//! anything, and a majority, without which nobody may be granted the lock. What was asked meanwhile is done afterwards,
//! when whoever asked has long given up.
//!
//! Fired means: every one of them left a question unanswered that it answers at once otherwise, while orders were on
//! their way.

use std::time::Duration;

use futures_util::future::{join_all, try_join_all};

use super::redis_majority_down::names;
use super::seen::silent;
use super::{Field, Struck};
use crate::scenario::plan::Strike;

/// Longer than any lock client waits for a node, shorter than what its orders wait for the lock.
const SLOW_IN_LEASES: f64 = 1.2;

pub(super) async fn strike(field: &Field<'_>) -> anyhow::Result<Vec<Struck>> {
    field.each_while_busy(async |strike| slow(field, strike).await).await
}

async fn slow(field: &Field<'_>, strike: &Strike) -> anyhow::Result<Struck> {
    let yard = field.yard()?;
    let count = if strike.number.is_multiple_of(2) { yard.quorum() - 1 } else { yard.quorum() };
    let picked: Vec<_> = (0..count).map(|step| (strike.replica + step) % yard.redis.len()).collect();
    let nodes = join_all(picked.iter().map(|&node| yard.redis[node].lock())).await;
    let (from_ms, slow) = (field.now_ms(), field.lease.mul_f64(SLOW_IN_LEASES));
    let ms = slow.as_millis().to_string();
    let pause = ["CLIENT", "PAUSE", &ms, "ALL"];
    try_join_all(nodes.iter().map(|node| node.command(&pause))).await?;
    let within = slow.min(Duration::from_millis(200));
    let silences = join_all(nodes.iter().map(|node| silent(node.addr(), b"PING\r\n", within))).await;
    let in_flight = field.in_flight();
    tokio::time::sleep(slow).await;
    let fired = silences.iter().all(|silent| *silent) && in_flight > 0;
    Ok(field.struck(names(&picked), from_ms, fired, format!("silent while {in_flight} orders were on their way")))
}
