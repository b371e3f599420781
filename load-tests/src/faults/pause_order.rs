//! An order replica is stopped by SIGSTOP while it holds the lock, for longer than the lease, again and again.
//!
//! Fired means: it held the lock when it had stopped (asked at a lock node; for a strategy without a lock, it had orders
//! in flight), and somebody else sold that SKU before it was continued. What it does then is mostly to look at its lease
//! and give up: good manners, which narrow the window and cannot close it.

use std::time::Duration;

use anyhow::Context as _;
use tokio::time::{Instant, sleep};

use super::{Field, Struck};
use crate::control::Control;
use crate::plan::Strike;

/// Between two looks.
const LOOK_AGAIN: Duration = Duration::from_millis(5);
/// A replica that does not get the lock within this is left alone.
const HOLDS_WITHIN: Duration = Duration::from_secs(2);
/// How many leases a pause lasts at least, and at most if nobody sells.
const PAUSE_IN_LEASES: (f64, f64) = (1.2, 2.5);

pub(super) async fn strike(field: &Field<'_>) -> anyhow::Result<Vec<Struck>> {
    let mut struck = Vec::new();
    for strike in &field.strikes {
        if !field.time_for(strike).await {
            break;
        }
        let controls = &field.controls.orders;
        let control =
            controls.get(strike.replica % controls.len().max(1)).context("order's processes are out of reach")?;
        struck.extend(pause(field, control, strike).await?);
    }
    Ok(struck)
}

/// One pause; `None` if the replica never held the lock.
async fn pause(field: &Field<'_>, control: &Control, strike: &Strike) -> anyhow::Result<Option<Struck>> {
    let sku = field.sku(strike);
    let deadline = Instant::now() + HOLDS_WITHIN;
    loop {
        if *field.over.borrow() || Instant::now() >= deadline {
            return Ok(None);
        }
        if holds(field, control, sku).await? {
            let stopped = control.pause();
            control.stopped().await?;
            // It may have released in between; it cannot any more.
            if holds(field, control, sku).await? {
                let ended = hold_still(field, control, sku).await;
                drop(stopped);
                return ended.map(Some);
            }
        }
        sleep(LOOK_AGAIN).await;
    }
}

/// The replica is stopped; returns when it may go on.
async fn hold_still(field: &Field<'_>, control: &Control, sku: &str) -> anyhow::Result<Struck> {
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
    Ok(Struck {
        replica: control.name().to_owned(),
        sku: sku.to_owned(),
        from_ms,
        to_ms: field.now_ms(),
        fired: sold,
        outcome: outcome.to_owned(),
        order_id: None,
        fencing_token: None,
    })
}

/// Whether this replica holds the lock of `sku`: order calls itself `order-PID` on the lock nodes.
async fn holds(field: &Field<'_>, control: &Control, sku: &str) -> anyhow::Result<bool> {
    let Some(node) = field.redis.first().filter(|_| field.strategy.locks()) else {
        return Ok(true);
    };
    let value = node.command(&["GET", &format!("lock:sku:{sku}")]).await?;
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
