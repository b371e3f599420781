//! The clock of one lock node runs fast: its locks expire before their leases end, and it wakes the next waiter. A lock
//! on this single node is lost; of Redlock's nodes it is one vote.
//!
//! The expiry is simulated by deleting the key, which looks the same to the protocol: not every machine lets a process
//! have a clock of its own. It is always the first node, the one of strategy `redis`.
//!
//! Fired, for a strategy that locks at these nodes: a lock of its SKUs was stored, and this node deleted it. For other
//! strategies: a lock of any SKU was.

use std::time::Duration;

use contract::{LockKind, Proof};
use tokio::time::{Instant, sleep};

use super::context::{FaultContext, FaultTarget};
use super::event::FaultEvent;
use super::spec::{FaultSpec, LONG_PAYMENT, Needs};
use super::steps::lock_probe::{lock_key, stored_locks, wait_key};
use super::steps::poll::POLL_INTERVAL;

/// Deletes the key, and wakes the first waiter at this node, as a real expiry would.
const EXPIRE: &str = "local gone = redis.call('DEL', KEYS[1])
local first = redis.call('ZPOPMIN', KEYS[2])[1]
if first then redis.call('PUBLISH', 'wake:' .. string.match(first, '^[^:]+'), KEYS[2]) end
return gone";
/// By then every strategy has been granted a lock, if its orders are in flight.
const GRANTED_WITHIN: Duration = Duration::from_secs(2);

pub(super) const SPEC: FaultSpec = FaultSpec {
    needs: Needs::OwnStack,
    makes_writes_stale: false,
    // Of Redlock's nodes, one is outvoted.
    certain_to_oversell: |strategy, payment| {
        strategy.lock() == LockKind::OneRedis && strategy.proof() == Proof::Nothing && payment >= LONG_PAYMENT
    },
    why: "One node releases a lock too early: the only node for `redis`, one vote of five for Redlock.",
    inject: |context| Box::pin(inject(context)),
};

async fn inject(context: &FaultContext<'_>) -> anyhow::Result<Vec<FaultEvent>> {
    let mut events = Vec::new();
    for injection in &context.injections {
        if !context.wait_until_due(injection).await {
            break;
        }
        events.extend(expire(context).await?);
    }
    Ok(events)
}

async fn expire(context: &FaultContext<'_>) -> anyhow::Result<Vec<FaultEvent>> {
    let node = context.servers()?.redis[0].lock().await;
    let (from_ms, deadline) = (context.now_ms(), Instant::now() + GRANTED_WITHIN);
    let mut expired: Vec<String> = Vec::new();
    let lost_one = |expired: &[String], target: &FaultTarget| target.skus.iter().any(|sku| expired.contains(sku));
    let locks_here = |target: &&FaultTarget| target.strategy.lock().is_redis();
    while !context.is_over() && Instant::now() < deadline {
        let mut locks = stored_locks(context, &node).await?;
        locks.retain(|lock| !expired.contains(&lock.sku));
        for lock in locks {
            let (key, queue) = (lock_key(&lock.sku), wait_key(&lock.sku));
            if node.command(&["EVAL", EXPIRE, "2", &key, &queue]).await? == "1" {
                expired.push(lock.sku);
            }
        }
        if context.targets.iter().filter(locks_here).all(|target| lost_one(&expired, target)) {
            break;
        }
        sleep(POLL_INTERVAL).await;
    }
    let observed = format!("{} locks expired early", expired.len());
    let event = context.event("redis-1".to_owned(), from_ms, !expired.is_empty(), observed);
    let of_target = |target: &FaultTarget| {
        let sku = target.skus.iter().find(|sku| expired.contains(sku)).cloned();
        let fired = if target.strategy.lock().is_redis() { sku.is_some() } else { event.fired };
        FaultEvent { strategy: Some(target.strategy), sku: sku.unwrap_or_default(), fired, ..event.clone() }
    };
    Ok(context.targets.iter().map(of_target).collect())
}
