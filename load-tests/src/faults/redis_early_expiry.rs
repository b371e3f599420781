//! One lock node's clock runs ahead of the others': it lets go of locks before their lease is over, and says so to
//! whoever waits there. A single node has nobody to contradict it; of Redlock's it is one vote.
//!
//! Done by deleting the key, which looks the same to the protocol: a process whose clock can be set is not to be had
//! everywhere. It is always the first node, the one of strategy `redis`.
//!
//! Fired, for a strategy that locks at these nodes, means: the lock was there, and this node deleted it. For the others
//! it means that somebody's lock was.

use tokio::time::{Instant, sleep};

use super::lock_probe::{LOOK_AGAIN, locks_held};
use super::{FaultContext, FaultEvent};

/// Deletes the key, and calls whoever waits for it at this node, as its expiry would make them look again.
const EXPIRE: &str = "local gone = redis.call('DEL', KEYS[1])
local first = redis.call('ZPOPMIN', KEYS[2])[1]
if first then redis.call('PUBLISH', 'wake:' .. string.match(first, '^[^:]+'), KEYS[2]) end
return gone";
/// Locks of every strategy should have been seen by then.
const SEEN_WITHIN: std::time::Duration = std::time::Duration::from_secs(2);

pub(super) async fn inject(context: &FaultContext<'_>) -> anyhow::Result<Vec<FaultEvent>> {
    let mut events = Vec::new();
    for injection in &context.injections {
        if !context.time_for(injection).await {
            break;
        }
        events.extend(expire(context).await?);
    }
    Ok(events)
}

async fn expire(context: &FaultContext<'_>) -> anyhow::Result<Vec<FaultEvent>> {
    let node = context.servers()?.redis[0].lock().await;
    let (from_ms, deadline) = (context.now_ms(), Instant::now() + SEEN_WITHIN);
    let mut expired: Vec<String> = Vec::new();
    let hit = |expired: &[String], target: &super::FaultTarget| target.skus.iter().any(|sku| expired.contains(sku));
    let wanted = |target: &&super::FaultTarget| target.strategy.lock().is_redis();
    while !context.is_over() && Instant::now() < deadline {
        let mut locks = locks_held(context, &node).await?;
        locks.retain(|lock| !expired.contains(&lock.sku));
        for lock in locks {
            let (key, wait) = (format!("lock:sku:{}", lock.sku), format!("wait:sku:{}", lock.sku));
            if node.command(&["EVAL", EXPIRE, "2", &key, &wait]).await? == "1" {
                expired.push(lock.sku);
            }
        }
        if context.targets.iter().filter(wanted).all(|target| hit(&expired, target)) {
            break;
        }
        sleep(LOOK_AGAIN).await;
    }
    let outcome = format!("{} locks expired early", expired.len());
    let all = context.events("redis-1".to_owned(), from_ms, !expired.is_empty(), outcome);
    let of_lane = |target: &super::FaultTarget| {
        let sku = target.skus.iter().find(|sku| expired.contains(sku)).cloned();
        let fired = if target.strategy.lock().is_redis() { sku.is_some() } else { all.fired };
        FaultEvent { strategy: Some(target.strategy), sku: sku.unwrap_or_default(), fired, ..all.clone() }
    };
    Ok(context.targets.iter().map(of_lane).collect())
}
