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

use super::lock_probe::{HeldLock, LOOK_AGAIN, locks_held};
use super::redis_majority_down::names;
use super::{FaultContext, FaultEvent};
use crate::scenario::plan::Injection;

/// Some lock should have been granted by then.
const HELD_WITHIN: Duration = Duration::from_secs(2);

pub(super) async fn inject(context: &FaultContext<'_>) -> anyhow::Result<Vec<FaultEvent>> {
    let mut events = Vec::new();
    for injection in &context.injections {
        if !context.time_for(injection).await {
            break;
        }
        events.extend(forget(context, injection).await?);
    }
    Ok(events)
}

async fn forget(context: &FaultContext<'_>, injection: &Injection) -> anyhow::Result<Vec<FaultEvent>> {
    let servers = context.servers()?;
    let picked: Vec<_> = (0..servers.quorum()).collect();
    let mut nodes = join_all(picked.iter().map(|&node| servers.redis[node].lock())).await;
    let held = fresh(context, injection, &nodes[0]).await?;
    let from_ms = context.now_ms();
    join_all(nodes.iter_mut().map(|node| node.kill())).await;
    try_join_all(nodes.iter_mut().map(|node| node.restart())).await?;
    let after = locks_held(context, &nodes[0]).await?;
    // Whoever holds it now is another, even if it has the same name.
    let forgotten: Vec<_> = held.into_iter().filter(|lock| !after.contains(lock)).collect();
    let replica = names(&picked);
    let missed =
        context.events(replica, from_ms, !forgotten.is_empty(), format!("{} locks were forgotten", forgotten.len()));
    let of_lane = |target: &super::FaultTarget| {
        let lock = forgotten.iter().find(|lock| target.skus.contains(&lock.sku));
        let fired = if target.strategy.lock().is_redis() { lock.is_some() } else { missed.fired };
        let sku = lock.map(|lock| lock.sku.clone()).unwrap_or_default();
        FaultEvent { strategy: Some(target.strategy), sku, fired, ..missed.clone() }
    };
    Ok(context.targets.iter().map(of_lane).collect())
}

/// The locks that are held, as soon as one of the strategy whose turn it is was granted just now: its holder will be busy
/// for longest. If none is, whatever is held after a while.
async fn fresh(context: &FaultContext<'_>, injection: &Injection, node: &RedisNode) -> anyhow::Result<Vec<HeldLock>> {
    let deadline = Instant::now() + HELD_WITHIN;
    let meant = context.target(injection, |target| target.strategy.lock().is_redis());
    let mut before = locks_held(context, node).await?;
    loop {
        sleep(LOOK_AGAIN).await;
        let now = locks_held(context, node).await?;
        let of_meant = |lock: &&HeldLock| meant.is_some_and(|target| target.skus.contains(&lock.sku));
        let granted = now.iter().filter(of_meant).any(|lock| !before.contains(lock));
        if granted || context.is_over() || Instant::now() >= deadline {
            return Ok(now);
        }
        before = now;
    }
}
