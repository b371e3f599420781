//! A majority of the lock nodes, the one of strategy `redis` among them, is killed while locks are held, and comes back
//! empty at once: nobody waited until the leases had ended, and nothing was kept on disk. The locks and the counters of
//! the tokens are gone; the next customer is granted a lock that somebody else still holds.
//!
//! Fired, for a strategy that locks at these nodes, means: a lock of its SKUs was there before, and after the restart it
//! was not. For the others it means that the nodes forgot something of somebody's.

use futures_util::future::{join_all, try_join_all};
use tokio::time::{Instant, sleep};

use super::redis_majority_down::names;
use super::seen::{LOOK_AGAIN, locks_held};
use super::{Field, Struck};

/// Some lock should be held by then.
const HELD_WITHIN: std::time::Duration = std::time::Duration::from_secs(2);

pub(super) async fn strike(field: &Field<'_>) -> anyhow::Result<Vec<Struck>> {
    let mut struck = Vec::new();
    for strike in &field.strikes {
        if !field.time_for(strike).await {
            break;
        }
        struck.extend(forget(field).await?);
    }
    Ok(struck)
}

async fn forget(field: &Field<'_>) -> anyhow::Result<Vec<Struck>> {
    let yard = field.yard()?;
    let picked: Vec<_> = (0..yard.quorum()).collect();
    let mut nodes = join_all(picked.iter().map(|&node| yard.redis[node].lock())).await;
    let deadline = Instant::now() + HELD_WITHIN;
    let mut held = locks_held(field, &nodes[0]).await?;
    while held.is_empty() && !field.is_over() && Instant::now() < deadline {
        sleep(LOOK_AGAIN).await;
        held = locks_held(field, &nodes[0]).await?;
    }
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
