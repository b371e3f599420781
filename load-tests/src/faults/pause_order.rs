//! An order replica is stopped for longer than the lease, again and again. In turn: by SIGSTOP at any moment at which it
//! holds the lock, and by itself at the worst one, right after its last look at the lease and before it sends the write.
//!
//! Fired means: it was stopped with the lock in hand (asked at a lock node; for a strategy without a lock, it had orders
//! in flight), and somebody else sold that SKU before it was continued. At any moment, what it does then is mostly to
//! look at its lease and give up. At the worst moment it sends what it had in hand: the look narrows the window, and
//! cannot close it.

use std::time::Duration;

use anyhow::Context as _;
use tokio::time::{Instant, sleep};

use super::seen::{LOOK_AGAIN, stops_itself};
use super::{Field, LaneField, Struck};
use crate::cluster::control::Control;
use crate::scenario::plan::Strike;
use crate::scenario::strategy::Strategy;

/// A strategy none of whose SKUs is locked within this is left alone.
const HOLDS_WITHIN: Duration = Duration::from_secs(4);
/// How many leases a pause lasts at least, and at most if nobody sells.
const PAUSE_IN_LEASES: (f64, f64) = (1.2, 4.0);
/// A holder while whose pause nobody else came proves nothing, so a strike is repeated.
const MOST_TRIES: usize = 3;

pub(super) async fn strike(field: &Field<'_>) -> anyhow::Result<Vec<Struck>> {
    let mut struck = Vec::new();
    for strike in &field.strikes {
        if !field.time_for(strike).await {
            break;
        }
        let Some(lane) = field.lane(strike, |_| true) else { break };
        for attempt in 0..MOST_TRIES {
            // Whoever's turn it is meets both kinds, one after the other. The lock of `postgres-advisory` does not lapse
            // while its session lives: nobody else would come.
            let worst =
                (strike.number / field.lanes.len()).is_multiple_of(2) && lane.strategy != Strategy::PostgresAdvisory;
            let paused =
                if worst { armed(field, lane, strike, attempt).await? } else { anywhere(field, lane, strike).await? };
            let fired = paused.as_ref().is_some_and(|struck| struck.fired);
            struck.extend(paused);
            if fired || field.is_over() {
                break;
            }
        }
    }
    Ok(struck)
}

/// One pause before a write is sent; `None` if no write came.
async fn armed(field: &Field<'_>, lane: &LaneField, strike: &Strike, attempt: usize) -> anyhow::Result<Option<Struck>> {
    let replica = (strike.replica + attempt) % field.orders.count();
    let control = field.controls.orders.get(replica).context("order's processes are out of reach")?;
    for sku in lane.skus_from(strike.sku + attempt) {
        if stops_itself(field, field.orders, replica, control, sku).await? {
            let stopped = control.continued_later();
            let ended = hold_still(field, lane, control, sku, "before it sent its write").await;
            drop(stopped);
            return ended.map(Some);
        }
        if field.is_over() {
            break;
        }
    }
    Ok(None)
}

/// One pause at any moment, of whichever replica holds a lock first; `None` if none did.
async fn anywhere(field: &Field<'_>, lane: &LaneField, strike: &Strike) -> anyhow::Result<Option<Struck>> {
    anyhow::ensure!(!field.controls.orders.is_empty(), "order's processes are out of reach");
    let deadline = Instant::now() + HOLDS_WITHIN;
    for turn in strike.sku.. {
        if field.is_over() || Instant::now() >= deadline {
            break;
        }
        let sku = &lane.skus[turn % lane.skus.len()];
        for step in 0..field.controls.orders.len() {
            let control = &field.controls.orders[(strike.replica + step) % field.controls.orders.len()];
            if holds(field, lane, control, sku).await? {
                let stopped = control.pause();
                control.stopped().await?;
                // It may have released in between; it cannot any more.
                if holds(field, lane, control, sku).await? {
                    let ended = hold_still(field, lane, control, sku, "with the lock in hand").await;
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
    field: &Field<'_>,
    lane: &LaneField,
    control: &Control,
    sku: &str,
    when: &str,
) -> anyhow::Result<Struck> {
    let (stopped_at, from_ms) = (Instant::now(), field.now_ms());
    let seq = field.auditor.last_seq().await?;
    sleep(field.lease.mul_f64(PAUSE_IN_LEASES.0)).await;
    let longest = field.lease.mul_f64(PAUSE_IN_LEASES.1);
    let mut sold = field.auditor.sold_since(sku, seq).await?;
    while !sold && stopped_at.elapsed() < longest {
        sleep(LOOK_AGAIN).await;
        sold = field.auditor.sold_since(sku, seq).await?;
    }
    let outcome = if sold { "others sold meanwhile" } else { "nobody else sold" };
    let outcome = format!("stopped {when}; {outcome}");
    Ok(Struck {
        strategy: Some(lane.strategy),
        replica: control.name().to_owned(),
        sku: sku.to_owned(),
        from_ms,
        to_ms: field.now_ms(),
        fired: sold,
        outcome,
        order_id: None,
        fencing_token: None,
    })
}

/// Whether this replica holds the lock of `sku`: order calls itself `order-PID` on the lock nodes. Where there is no such
/// node, or no lock, it is enough that orders are on their way.
async fn holds(field: &Field<'_>, lane: &LaneField, control: &Control, sku: &str) -> anyhow::Result<bool> {
    let node = field.yard.filter(|_| lane.strategy.locks_at_redis()).and_then(|yard| yard.redis.first());
    let Some(node) = node else {
        return Ok(lane.history.in_flight() > 0);
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
