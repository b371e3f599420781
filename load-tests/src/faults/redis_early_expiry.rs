//! One lock node's clock runs ahead of the others': it lets go of locks before their lease is over, and says so to
//! whoever waits there. A single node has nobody to contradict it; of Redlock's it is one vote.
//!
//! Done by deleting the key, which looks the same to the protocol: a process whose clock can be set is not to be had
//! everywhere. It is always the first node, the one of strategy `redis`.
//!
//! Fired, for a strategy that locks at these nodes, means: the lock was there, and this node deleted it. For the others
//! it means that somebody's lock was.

use tokio::time::{Instant, sleep};

use super::seen::{LOOK_AGAIN, locks_held};
use super::{Field, Struck};

/// Deletes the key, and calls whoever waits for it at this node, as its expiry would make them look again.
const EXPIRE: &str = "local gone = redis.call('DEL', KEYS[1])
local first = redis.call('ZPOPMIN', KEYS[2])[1]
if first then redis.call('PUBLISH', 'wake:' .. string.match(first, '^[^:]+'), KEYS[2]) end
return gone";
/// Locks of every strategy should have been seen by then.
const SEEN_WITHIN: std::time::Duration = std::time::Duration::from_secs(2);

pub(super) async fn strike(field: &Field<'_>) -> anyhow::Result<Vec<Struck>> {
    let mut struck = Vec::new();
    for strike in &field.strikes {
        if !field.time_for(strike).await {
            break;
        }
        struck.extend(expire(field).await?);
    }
    Ok(struck)
}

async fn expire(field: &Field<'_>) -> anyhow::Result<Vec<Struck>> {
    let node = field.yard()?.redis[0].lock().await;
    let (from_ms, deadline) = (field.now_ms(), Instant::now() + SEEN_WITHIN);
    let mut expired: Vec<String> = Vec::new();
    let hit = |expired: &[String], lane: &super::LaneField| lane.skus.iter().any(|sku| expired.contains(sku));
    let wanted = |lane: &&super::LaneField| lane.strategy.locks_at_redis();
    while !field.is_over() && Instant::now() < deadline {
        let mut locks = locks_held(field, &node).await?;
        locks.retain(|lock| !expired.contains(&lock.sku));
        for lock in locks {
            let (key, wait) = (format!("lock:sku:{}", lock.sku), format!("wait:sku:{}", lock.sku));
            if node.command(&["EVAL", EXPIRE, "2", &key, &wait]).await? == "1" {
                expired.push(lock.sku);
            }
        }
        if field.lanes.iter().filter(wanted).all(|lane| hit(&expired, lane)) {
            break;
        }
        sleep(LOOK_AGAIN).await;
    }
    let outcome = format!("{} locks expired early", expired.len());
    let all = field.struck("redis-1".to_owned(), from_ms, !expired.is_empty(), outcome);
    let of_lane = |lane: &super::LaneField| {
        let sku = lane.skus.iter().find(|sku| expired.contains(sku)).cloned();
        let fired = if lane.strategy.locks_at_redis() { sku.is_some() } else { all.fired };
        Struck { strategy: Some(lane.strategy), sku: sku.unwrap_or_default(), fired, ..all.clone() }
    };
    Ok(field.lanes.iter().map(of_lane).collect())
}
