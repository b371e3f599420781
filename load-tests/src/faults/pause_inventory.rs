//! The paper's paused client, made certain: an inventory replica stops itself as it enters a write, before it begins a
//! transaction. It is continued once the lease has lapsed and somebody else has sold that SKU, so that the write that
//! follows is stale. One replica at a time: the others have to go on selling.
//!
//! Fired means: that write was then attempted. Whether it landed or was refused is what the row is about.

use std::time::Duration;

use anyhow::Context as _;
use tokio::time::{Instant, sleep, timeout};

use super::{Field, Struck};
use crate::control::Control;
use crate::inventory::Parked;

/// Between two looks at books or at the lab. Both belong to other processes; there is no event to wait for.
const LOOK_AGAIN: Duration = Duration::from_millis(5);
/// A write of this SKU should have come by then; if none did, another SKU may do better.
const FIRES_WITHIN: Duration = Duration::from_secs(1);
/// How long a continued write may take to end.
const ENDS_WITHIN: Duration = Duration::from_secs(10);
/// Nobody sold for so many leases: continued all the same. A write that nobody answered is looked up by order after
/// three of them, and must have ended by then.
const LONGEST_PAUSE_IN_LEASES: f64 = 2.5;

pub(super) async fn strike(field: &Field<'_>) -> anyhow::Result<Vec<Struck>> {
    let mut struck = Vec::new();
    for (number, strike) in field.strikes.iter().enumerate() {
        if !field.time_for(strike).await {
            break;
        }
        let replica = strike.replica % field.inventory.replicas();
        let control = field.controls.inventory.get(replica).context("inventory's processes are out of reach")?;
        // Where one SKU sells no more, the next may.
        for step in 0..field.skus.len() {
            let sku = &field.skus[(strike.sku + step) % field.skus.len()];
            if let Some(pause) =
                pause(field, replica, control, sku).await.with_context(|| format!("pause {}", number + 1))?
            {
                struck.push(pause);
                break;
            }
            if *field.over.borrow() {
                break;
            }
        }
    }
    Ok(struck)
}

/// One pause; `None` if no write came.
async fn pause(field: &Field<'_>, replica: usize, control: &Control, sku: &str) -> anyhow::Result<Option<Struck>> {
    let known = field.inventory.parked(replica).await?.len();
    field.inventory.arm(replica, sku).await?;
    if !fires(field, replica, control).await? {
        return Ok(None);
    }
    let (stopped_at, from_ms) = (Instant::now(), field.now_ms());
    let stopped = control.continued_later();
    let seq = field.auditor.last_seq().await?;
    let others_sold = until_stale(field, sku, seq, stopped_at).await?;
    drop(stopped);
    let to_ms = field.now_ms();
    let parked = outcome(field, replica, known).await?;
    let outcome = match &parked {
        Some(Parked { outcome: Some(outcome), .. }) => outcome.clone(),
        _ => "not attempted".to_owned(),
    };
    let attempted = parked.as_ref().is_some_and(|parked| parked.outcome.is_some());
    let outcome = if others_sold { outcome } else { format!("{outcome}, but nobody else had sold") };
    Ok(Some(Struck {
        replica: control.name().to_owned(),
        sku: sku.to_owned(),
        from_ms,
        to_ms,
        fired: attempted && others_sold,
        outcome,
        order_id: parked.as_ref().map(|parked| parked.order_id),
        fencing_token: parked.and_then(|parked| parked.fencing_token),
    }))
}

/// Waits until the replica has stopped itself. `false`: disarmed, and it runs.
async fn fires(field: &Field<'_>, replica: usize, control: &Control) -> anyhow::Result<bool> {
    tokio::select! {
        stopped = control.stopped() => return stopped.map(|()| true),
        () = field.ended() => {}
        () = sleep(FIRES_WITHIN) => {}
    }
    // It may stop at this very moment; then it does not answer, and has fired.
    tokio::select! {
        disarmed = field.inventory.disarm(replica) => disarmed.map(|()| false),
        stopped = control.stopped() => stopped.map(|()| true),
    }
}

/// Waits until the lease has lapsed and somebody else has sold; `false` if nobody did.
async fn until_stale(field: &Field<'_>, sku: &str, seq: i64, stopped_at: Instant) -> anyhow::Result<bool> {
    tokio::time::sleep_until(stopped_at + field.lease).await;
    let others_sell = async {
        while !field.auditor.sold_since(sku, seq).await? {
            sleep(LOOK_AGAIN).await;
        }
        anyhow::Ok(())
    };
    let left = field.lease.mul_f64(LONGEST_PAUSE_IN_LEASES).saturating_sub(stopped_at.elapsed());
    match timeout(left, others_sell).await {
        Ok(sold) => sold.map(|()| true),
        Err(_) => Ok(false),
    }
}

/// How the parked write ended, once it has.
async fn outcome(field: &Field<'_>, replica: usize, known: usize) -> anyhow::Result<Option<Parked>> {
    let deadline = Instant::now() + ENDS_WITHIN;
    loop {
        let parked = field.inventory.parked(replica).await?.into_iter().nth(known);
        let ended = parked.as_ref().is_some_and(|parked| parked.outcome.is_some());
        if ended || Instant::now() >= deadline {
            return Ok(parked);
        }
        sleep(LOOK_AGAIN).await;
    }
}
