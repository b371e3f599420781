//! Nothing gets through between the order service and some of the lock nodes: what is asked, in turn, or what is
//! answered, or both. In turn a minority and a majority. TCP delivers what was held back once the line is healed: a node
//! then grants, or releases, what somebody asked for long ago.
//!
//! Fired means: a question sent over the broken line was not answered, while orders were on their way.

use std::time::Duration;

use futures_util::future::join_all;

use super::lock_probe::{Broken, silent};
use super::redis_majority_down::names;
use super::{FaultContext, FaultEvent};
use crate::scenario::plan::Injection;

/// Longer than the lease: whoever holds a lock cannot give it back.
const LASTS_IN_LEASES: f64 = 1.3;

pub(super) async fn inject(context: &FaultContext<'_>) -> anyhow::Result<Vec<FaultEvent>> {
    context.each_while_busy(async |injection| partition(context, injection).await).await
}

async fn partition(context: &FaultContext<'_>, injection: &Injection) -> anyhow::Result<FaultEvent> {
    let (servers, proxies) = (context.servers()?, context.proxies()?);
    let count = if injection.number.is_multiple_of(2) { servers.quorum() - 1 } else { servers.quorum() };
    let picked: Vec<_> = (0..count).map(|step| (injection.replica + step) % servers.redis.len()).collect();
    let from_ms = context.now_ms();
    let broken = Broken::one_way_or_both(injection, picked.iter().map(|&node| &proxies.redis[node]).collect());
    let lasts = context.lease.mul_f64(LASTS_IN_LEASES);
    let within = lasts.min(Duration::from_millis(200));
    let silences = join_all(broken.lines().map(|line| silent(line.addr(), b"PING\r\n", within))).await;
    let in_flight = context.in_flight();
    tokio::time::sleep(lasts).await;
    let what = broken.what();
    drop(broken);
    let fired = silences.iter().all(|silent| *silent) && in_flight > 0;
    Ok(context.events(names(&picked), from_ms, fired, format!("{what} held back with {in_flight} orders on their way")))
}
