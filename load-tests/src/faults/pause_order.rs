//! An order replica is paused for longer than the lease. Alternately: by SIGSTOP at any moment at which it holds the
//! lock, and by itself at the worst moment, after its last check of the lease and before it sends the write.
//!
//! Fired: it was paused while it held the lock (as read from a lock node; for a strategy without a lock there, while
//! orders were in flight), and another order sold that SKU before it was resumed. Paused at any moment, it usually
//! checks its lease and gives up. Paused at the worst moment, it sends the write: the check narrows the window and
//! cannot close it.

use std::time::Duration;

use anyhow::Context as _;
use contract::{LockKind, Proof};
use tokio::time::{Instant, sleep};

use super::context::{FaultContext, FaultTarget};
use super::event::{EventOutcome, FaultEvent, PausePoint};
use super::injection::Injection;
use super::spec::{FaultSpec, Needs};
use super::steps::lock_probe::lock_key;
use super::steps::poll::POLL_INTERVAL;
use super::steps::self_pause::arm_until_stopped;
use crate::cluster::process::ReplicaProcess;

/// If none of a strategy's SKUs is locked within this time, the injection is given up.
const LOCKS_WITHIN: Duration = Duration::from_secs(4);
/// The shortest pause, in leases, and the longest if no other order sells.
const PAUSE_IN_LEASES: (f64, f64) = (1.2, 4.0);
/// The longest for ZooKeeper, whose lock ends with the session of its holder, 10 s after its last sign of life, and not
/// with a lease.
const LONGEST_PAUSE_OF_A_SESSION: Duration = Duration::from_secs(12);
/// A pause during which no other order sold proves nothing, so an injection is repeated.
const MOST_ATTEMPTS: usize = 3;

pub(super) const SPEC: FaultSpec = FaultSpec {
    needs: Needs::Processes,
    makes_writes_stale: false,
    // Only a lock with a lease ends while its holder is paused.
    certain_to_oversell: |strategy, _| strategy.lock().is_redis() && strategy.proof() == Proof::Nothing,
    why: "A paused holder checks its lease before the write and usually gives up. Paused between that check and the write, \
          it sends the write: the window is narrow, not closed.",
    inject: |context| Box::pin(inject(context)),
};

async fn inject(context: &FaultContext<'_>) -> anyhow::Result<Vec<FaultEvent>> {
    let mut events = Vec::new();
    for injection in &context.injections {
        if !context.wait_until_due(injection).await {
            break;
        }
        let Some(target) = context.target(injection, |_| true) else { break };
        for attempt in 0..MOST_ATTEMPTS {
            let event = match pause_point(context, target, injection) {
                PausePoint::BeforeWrite => pause_before_write(context, target, injection, attempt).await?,
                PausePoint::HoldingLock => pause_holding_lock(context, target, injection).await?,
            };
            let fired = event.as_ref().is_some_and(|event| event.fired);
            events.extend(event);
            if fired || context.is_over() {
                break;
            }
        }
    }
    Ok(events)
}

/// Every target meets both, one after the other. An advisory lock does not lapse while its session lives: no other
/// order would acquire it.
fn pause_point(context: &FaultContext<'_>, target: &FaultTarget, injection: &Injection) -> PausePoint {
    let even = (injection.number / context.targets.len()).is_multiple_of(2);
    if even && target.strategy.lock() != LockKind::Advisory { PausePoint::BeforeWrite } else { PausePoint::HoldingLock }
}

/// One pause before a write is sent; absent if no write began.
async fn pause_before_write(
    context: &FaultContext<'_>,
    target: &FaultTarget,
    injection: &Injection,
    attempt: usize,
) -> anyhow::Result<Option<FaultEvent>> {
    let replica = (injection.replica + attempt) % context.orders.count();
    let process = context.processes.orders.get(replica).context("the processes of order cannot be reached")?;
    for sku in target.skus_from(injection.sku + attempt) {
        if arm_until_stopped(context, context.orders, replica, process, sku).await? {
            let stopped = process.resume_on_drop();
            let event = wait_until_others_sold(context, target, process, sku, PausePoint::BeforeWrite).await;
            drop(stopped);
            return event.map(Some);
        }
        if context.is_over() {
            break;
        }
    }
    Ok(None)
}

/// One pause at any moment, of the first replica found to hold a lock; absent if none did.
async fn pause_holding_lock(
    context: &FaultContext<'_>,
    target: &FaultTarget,
    injection: &Injection,
) -> anyhow::Result<Option<FaultEvent>> {
    let replicas = &context.processes.orders;
    anyhow::ensure!(!replicas.is_empty(), "the processes of order cannot be reached");
    let deadline = Instant::now() + LOCKS_WITHIN;
    for turn in injection.sku.. {
        if context.is_over() || Instant::now() >= deadline {
            break;
        }
        let sku = &target.skus[turn % target.skus.len()];
        for step in 0..replicas.len() {
            let process = &replicas[(injection.replica + step) % replicas.len()];
            if holds_lock(context, target, process, sku).await? {
                let stopped = process.pause();
                process.stopped().await?;
                // It may have released the lock before the signal arrived; from here on it cannot.
                if holds_lock(context, target, process, sku).await? {
                    let event = wait_until_others_sold(context, target, process, sku, PausePoint::HoldingLock).await;
                    drop(stopped);
                    return event.map(Some);
                }
            }
        }
        sleep(POLL_INTERVAL).await;
    }
    Ok(None)
}

/// Waits while the replica is paused, until another order has sold or the longest pause is over.
async fn wait_until_others_sold(
    context: &FaultContext<'_>,
    target: &FaultTarget,
    process: &ReplicaProcess,
    sku: &str,
    at: PausePoint,
) -> anyhow::Result<FaultEvent> {
    let (stopped_at, from_ms) = (Instant::now(), context.now_ms());
    let seq = context.auditor.last_seq().await?;
    sleep(context.lease.mul_f64(PAUSE_IN_LEASES.0)).await;
    let longest = longest_pause(context.lease, target.strategy.lock());
    let mut others_sold = context.auditor.sold_since(sku, seq).await?;
    while !others_sold && stopped_at.elapsed() < longest {
        sleep(POLL_INTERVAL).await;
        others_sold = context.auditor.sold_since(sku, seq).await?;
    }
    Ok(FaultEvent {
        strategy: Some(target.strategy),
        replica: process.name().to_owned(),
        sku: sku.to_owned(),
        from_ms,
        to_ms: context.now_ms(),
        fired: others_sold,
        outcome: EventOutcome::PausedOrder { at, others_sold },
        order_id: None,
        fencing_token: None,
    })
}

/// Longer than any lock of this kind outlives its holder.
fn longest_pause(lease: Duration, lock: LockKind) -> Duration {
    let longest = lease.mul_f64(PAUSE_IN_LEASES.1);
    if lock == LockKind::Zookeeper { longest.max(LONGEST_PAUSE_OF_A_SESSION) } else { longest }
}

/// This replica holds the lock of `sku`: its owner name on the lock nodes begins with `order-PID`. Where there is no
/// such node, or no lock, it is enough that orders are in flight.
async fn holds_lock(
    context: &FaultContext<'_>,
    target: &FaultTarget,
    process: &ReplicaProcess,
    sku: &str,
) -> anyhow::Result<bool> {
    let servers = context.servers.filter(|_| target.strategy.lock().is_redis());
    let Some(node) = servers.and_then(|servers| servers.redis.first()) else {
        return Ok(target.history.in_flight() > 0);
    };
    let value = node.lock().await.command(&["GET", &lock_key(sku)]).await?;
    Ok(is_owned_by(&value, process.pid()))
}

fn is_owned_by(value: &str, pid: u32) -> bool {
    let after = value.strip_prefix("owner:").and_then(|owner| owner.strip_prefix(&format!("order-{pid}")));
    after.is_some_and(|rest| !rest.starts_with(|next: char| next.is_ascii_digit()))
}

#[cfg(test)]
mod tests {
    use super::is_owned_by;

    #[test]
    fn a_lock_of_a_process_whose_id_begins_alike_is_not_its_own() {
        assert!(is_owned_by("owner:order-12.abc.7:token:1:expiry:2", 12));
        assert!(!is_owned_by("owner:order-123.abc.7:token:1:expiry:2", 12));
        assert!(!is_owned_by("", 12));
    }
}
