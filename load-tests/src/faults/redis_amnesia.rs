//! A majority of the lock nodes, among them the one of strategy `redis`, is killed while locks are held, and restarts
//! empty at once: before the leases have ended, and with nothing kept on disk. The locks and the token counters are lost;
//! the next order is granted a lock that another order still holds.
//!
//! Fired, for a strategy that locks at these nodes: a lock of its SKUs was stored before the restart and not after it. For
//! other strategies: a lock of any SKU was.

use std::time::Duration;

use contract::Proof;
use futures_util::future::{join_all, try_join_all};
use testbed::RedisNode;
use tokio::time::{Instant, sleep};

use super::context::{FaultContext, FaultTarget};
use super::event::FaultEvent;
use super::injection::Injection;
use super::spec::{FaultSpec, LONG_PAYMENT, Needs};
use super::steps::lock_probe::{StoredLock, stored_locks};
use super::steps::poll::POLL_INTERVAL;
use super::steps::redis_outage::node_names;

/// By then a lock has been granted, if any order is in flight.
const GRANTED_WITHIN: Duration = Duration::from_secs(2);

pub(super) const SPEC: FaultSpec = FaultSpec {
    needs: Needs::OwnStack,
    makes_writes_stale: false,
    certain_to_oversell: |strategy, payment| {
        strategy.lock().is_redis() && strategy.proof() == Proof::Nothing && payment >= LONG_PAYMENT
    },
    why: "A majority forgets locks that are held, so a second holder is granted the lock: with one node and with five. \
          Tokens start again from 1, so claims are refused until the counter is raised.",
    inject: |context| Box::pin(inject(context)),
};

async fn inject(context: &FaultContext<'_>) -> anyhow::Result<Vec<FaultEvent>> {
    let mut events = Vec::new();
    for injection in &context.injections {
        if !context.wait_until_due(injection).await {
            break;
        }
        events.extend(restart_empty(context, injection).await?);
    }
    Ok(events)
}

async fn restart_empty(context: &FaultContext<'_>, injection: &Injection) -> anyhow::Result<Vec<FaultEvent>> {
    let servers = context.servers()?;
    let picked: Vec<_> = (0..servers.quorum()).collect();
    let mut nodes = join_all(picked.iter().map(|&node| servers.redis[node].lock())).await;
    let before = locks_after_a_grant(context, injection, &nodes[0]).await?;
    let from_ms = context.now_ms();
    join_all(nodes.iter_mut().map(|node| node.kill())).await;
    try_join_all(nodes.iter_mut().map(|node| node.restart())).await?;
    let after = stored_locks(context, &nodes[0]).await?;
    // A lock of the same SKU with another value is another grant.
    let forgotten: Vec<_> = before.into_iter().filter(|lock| !after.contains(lock)).collect();
    let observed = format!("{} locks were forgotten", forgotten.len());
    let event = context.event(node_names(&picked), from_ms, !forgotten.is_empty(), observed);
    let of_target = |target: &FaultTarget| {
        let lock = forgotten.iter().find(|lock| target.skus.contains(&lock.sku));
        let fired = if target.strategy.lock().is_redis() { lock.is_some() } else { event.fired };
        let sku = lock.map(|lock| lock.sku.clone()).unwrap_or_default();
        FaultEvent { strategy: Some(target.strategy), sku, fired, ..event.clone() }
    };
    Ok(context.targets.iter().map(of_target).collect())
}

/// The stored locks, read just after the target of this injection was granted one: its holder will be busy for longest.
/// If none is granted in time, the locks that are stored then.
async fn locks_after_a_grant(
    context: &FaultContext<'_>,
    injection: &Injection,
    node: &RedisNode,
) -> anyhow::Result<Vec<StoredLock>> {
    let deadline = Instant::now() + GRANTED_WITHIN;
    let target = context.target(injection, |target| target.strategy.lock().is_redis());
    let mut before = stored_locks(context, node).await?;
    loop {
        sleep(POLL_INTERVAL).await;
        let now = stored_locks(context, node).await?;
        let of_target = |lock: &&StoredLock| target.is_some_and(|target| target.skus.contains(&lock.sku));
        let granted = now.iter().filter(of_target).any(|lock| !before.contains(lock));
        if granted || context.is_over() || Instant::now() >= deadline {
            return Ok(now);
        }
        before = now;
    }
}
