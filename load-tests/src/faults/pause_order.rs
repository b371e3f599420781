//! An order replica is stopped for longer than the lease, again and again. In turn: by SIGSTOP at any moment at which it
//! holds the lock, and by itself at the worst one, right after its last look at the lease and before it sends the write.
//!
//! Fired means: it was stopped with the lock in hand (asked at a lock node; for a strategy without a lock, it had orders
//! in flight), and somebody else sold that SKU before it was continued. At any moment, what it does then is mostly to
//! look at its lease and give up. At the worst moment it sends what it had in hand: the look narrows the window, and
//! cannot close it.

use std::time::Duration;

use anyhow::Context as _;
use contract::Strategy;
use tokio::time::{Instant, sleep};

use super::lock_probe::{LOOK_AGAIN, stops_itself};
use super::{FaultContext, FaultEvent, FaultTarget};
use crate::cluster::process::ReplicaProcess;
use crate::scenario::plan::Injection;

/// A strategy none of whose SKUs is locked within this is left alone.
const HOLDS_WITHIN: Duration = Duration::from_secs(4);
/// How many leases a pause lasts at least, and at most if nobody sells.
const PAUSE_IN_LEASES: (f64, f64) = (1.2, 4.0);
/// A holder while whose pause nobody else came proves nothing, so a strike is repeated.
const MOST_TRIES: usize = 3;

pub(super) async fn inject(context: &FaultContext<'_>) -> anyhow::Result<Vec<FaultEvent>> {
    let mut events = Vec::new();
    for injection in &context.injections {
        if !context.time_for(injection).await {
            break;
        }
        let Some(target) = context.target(injection, |_| true) else { break };
        for attempt in 0..MOST_TRIES {
            // Whoever's turn it is meets both kinds, one after the other. The lock of `postgres-advisory` does not lapse
            // while its session lives: nobody else would come.
            let worst = (injection.number / context.targets.len()).is_multiple_of(2)
                && target.strategy != Strategy::PostgresAdvisory;
            let paused = if worst {
                armed(context, target, injection, attempt).await?
            } else {
                anywhere(context, target, injection).await?
            };
            let fired = paused.as_ref().is_some_and(|events| events.fired);
            events.extend(paused);
            if fired || context.is_over() {
                break;
            }
        }
    }
    Ok(events)
}

/// One pause before a write is sent; `None` if no write came.
async fn armed(
    context: &FaultContext<'_>,
    target: &FaultTarget,
    injection: &Injection,
    attempt: usize,
) -> anyhow::Result<Option<FaultEvent>> {
    let replica = (injection.replica + attempt) % context.orders.count();
    let control = context.controls.orders.get(replica).context("order's processes are out of reach")?;
    for sku in target.skus_from(injection.sku + attempt) {
        if stops_itself(context, context.orders, replica, control, sku).await? {
            let stopped = control.continued_later();
            let ended = hold_still(context, target, control, sku, "before it sent its write").await;
            drop(stopped);
            return ended.map(Some);
        }
        if context.is_over() {
            break;
        }
    }
    Ok(None)
}

/// One pause at any moment, of whichever replica holds a lock first; `None` if none did.
async fn anywhere(
    context: &FaultContext<'_>,
    target: &FaultTarget,
    injection: &Injection,
) -> anyhow::Result<Option<FaultEvent>> {
    anyhow::ensure!(!context.controls.orders.is_empty(), "order's processes are out of reach");
    let deadline = Instant::now() + HOLDS_WITHIN;
    for turn in injection.sku.. {
        if context.is_over() || Instant::now() >= deadline {
            break;
        }
        let sku = &target.skus[turn % target.skus.len()];
        for step in 0..context.controls.orders.len() {
            let control = &context.controls.orders[(injection.replica + step) % context.controls.orders.len()];
            if holds(context, target, control, sku).await? {
                let stopped = control.pause();
                control.stopped().await?;
                // It may have released in between; it cannot any more.
                if holds(context, target, control, sku).await? {
                    let ended = hold_still(context, target, control, sku, "with the lock in hand").await;
                    drop(stopped);
                    return ended.map(Some);
                }
            }
        }
        sleep(LOOK_AGAIN).await;
    }
    Ok(None)
}

/// The replica is stopped; returns when it may go on.
async fn hold_still(
    context: &FaultContext<'_>,
    target: &FaultTarget,
    control: &ReplicaProcess,
    sku: &str,
    when: &str,
) -> anyhow::Result<FaultEvent> {
    let (stopped_at, from_ms) = (Instant::now(), context.now_ms());
    let seq = context.auditor.last_seq().await?;
    sleep(context.lease.mul_f64(PAUSE_IN_LEASES.0)).await;
    let longest = context.lease.mul_f64(PAUSE_IN_LEASES.1);
    let mut sold = context.auditor.sold_since(sku, seq).await?;
    while !sold && stopped_at.elapsed() < longest {
        sleep(LOOK_AGAIN).await;
        sold = context.auditor.sold_since(sku, seq).await?;
    }
    let outcome = if sold { "others sold meanwhile" } else { "nobody else sold" };
    let outcome = format!("stopped {when}; {outcome}");
    Ok(FaultEvent {
        strategy: Some(target.strategy),
        replica: control.name().to_owned(),
        sku: sku.to_owned(),
        from_ms,
        to_ms: context.now_ms(),
        fired: sold,
        outcome,
        order_id: None,
        fencing_token: None,
    })
}

/// Whether this replica holds the lock of `sku`: order calls itself `order-PID` on the lock nodes. Where there is no such
/// node, or no lock, it is enough that orders are on their way.
async fn holds(
    context: &FaultContext<'_>,
    target: &FaultTarget,
    control: &ReplicaProcess,
    sku: &str,
) -> anyhow::Result<bool> {
    let node = context.servers.filter(|_| target.strategy.lock().is_redis()).and_then(|servers| servers.redis.first());
    let Some(node) = node else {
        return Ok(target.history.in_flight() > 0);
    };
    let value = node.lock().await.command(&["GET", &format!("lock:sku:{sku}")]).await?;
    Ok(owned_by(&value, control.pid()))
}

fn owned_by(value: &str, pid: u32) -> bool {
    let after = value.strip_prefix("owner:").and_then(|owner| owner.strip_prefix(&format!("order-{pid}")));
    after.is_some_and(|rest| !rest.starts_with(|next: char| next.is_ascii_digit()))
}

#[cfg(test)]
mod tests {
    use super::owned_by;

    #[test]
    fn a_process_is_not_taken_for_one_whose_number_begins_alike() {
        assert!(owned_by("owner:order-12.abc.7:token:1:expiry:2", 12));
        assert!(!owned_by("owner:order-123.abc.7:token:1:expiry:2", 12));
        assert!(!owned_by("", 12));
    }
}
