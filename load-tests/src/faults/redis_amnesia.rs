//! A majority of the lock nodes, the one of strategy `redis` among them, is killed while locks are held, and comes back
//! empty at once: nobody waited until the leases had ended, and nothing was kept on disk. The locks and the counters of
//! the tokens are gone; the next customer is granted a lock that somebody else still holds.
//!
//! Fired, for a strategy that locks at these nodes, means: a lock of its SKUs was there before, and after the restart it
//! was not. For the others it means that the nodes forgot something of somebody's.

use std::time::Duration;

use futures_util::future::{join_all, try_join_all};
use testbed::RedisNode;
use tokio::time::{Instant, sleep};

use super::redis_majority_down::names;
use super::seen::{HeldLock, LOOK_AGAIN, locks_held};
use super::{Field, Struck};
use crate::scenario::plan::Strike;

/// Some lock should have been granted by then.
const HELD_WITHIN: Duration = Duration::from_secs(2);

pub(super) async fn strike(field: &Field<'_>) -> anyhow::Result<Vec<Struck>> {
    let mut struck = Vec::new();
    for strike in &field.strikes {
        if !field.time_for(strike).await {
            break;
        }
        struck.extend(forget(field, strike).await?);
    }
    Ok(struck)
}

async fn forget(field: &Field<'_>, strike: &Strike) -> anyhow::Result<Vec<Struck>> {
    let yard = field.yard()?;
    let picked: Vec<_> = (0..yard.quorum()).collect();
    let mut nodes = join_all(picked.iter().map(|&node| yard.redis[node].lock())).await;
    let held = fresh(field, strike, &nodes[0]).await?;
    let from_ms = field.now_ms();
    join_all(nodes.iter_mut().map(|node| node.kill())).await;
    try_join_all(nodes.iter_mut().map(|node| node.restart())).await?;
    let after = locks_held(field, &nodes[0]).await?;
    // Whoever holds it now is another, even if it has the same name.
    let forgotten: Vec<_> = held.into_iter().filter(|lock| !after.contains(lock)).collect();
    let replica = names(&picked);
    let missed =
        field.struck(replica, from_ms, !forgotten.is_empty(), format!("{} locks were forgotten", forgotten.len()));
    let of_lane = |lane: &super::LaneField| {
        let lock = forgotten.iter().find(|lock| lane.skus.contains(&lock.sku));
        let fired = if lane.strategy.locks_at_redis() { lock.is_some() } else { missed.fired };
        let sku = lock.map(|lock| lock.sku.clone()).unwrap_or_default();
        Struck { strategy: Some(lane.strategy), sku, fired, ..missed.clone() }
    };
    Ok(field.lanes.iter().map(of_lane).collect())
}

/// The locks that are held, as soon as one of the strategy whose turn it is was granted just now: its holder will be busy
/// for longest. If none is, whatever is held after a while.
async fn fresh(field: &Field<'_>, strike: &Strike, node: &RedisNode) -> anyhow::Result<Vec<HeldLock>> {
    let deadline = Instant::now() + HELD_WITHIN;
    let meant = field.lane(strike, |lane| lane.strategy.locks_at_redis());
    let mut before = locks_held(field, node).await?;
    loop {
        sleep(LOOK_AGAIN).await;
        let now = locks_held(field, node).await?;
        let of_meant = |lock: &&HeldLock| meant.is_some_and(|lane| lane.skus.contains(&lock.sku));
        let granted = now.iter().filter(of_meant).any(|lock| !before.contains(lock));
        if granted || field.is_over() || Instant::now() >= deadline {
            return Ok(now);
        }
        before = now;
    }
}
