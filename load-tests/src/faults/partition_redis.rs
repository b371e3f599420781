//! Nothing gets through between the order service and some of the lock nodes: what is asked, in turn, or what is
//! answered, or both. In turn a minority and a majority. TCP delivers what was held back once the line is healed: a node
//! then grants, or releases, what somebody asked for long ago.
//!
//! Fired means: a question sent over the broken line was not answered, while orders were on their way.

use std::time::Duration;

use futures_util::future::join_all;

use super::redis_majority_down::names;
use super::seen::{Broken, silent};
use super::{Field, Struck};
use crate::scenario::plan::Strike;

/// Longer than the lease: whoever holds a lock cannot give it back.
const LASTS_IN_LEASES: f64 = 1.3;

pub(super) async fn strike(field: &Field<'_>) -> anyhow::Result<Vec<Struck>> {
    field.each_while_busy(async |strike| partition(field, strike).await).await
}

async fn partition(field: &Field<'_>, strike: &Strike) -> anyhow::Result<Struck> {
    let (yard, routes) = (field.yard()?, field.routes()?);
    let count = if strike.number.is_multiple_of(2) { yard.quorum() - 1 } else { yard.quorum() };
    let picked: Vec<_> = (0..count).map(|step| (strike.replica + step) % yard.redis.len()).collect();
    let from_ms = field.now_ms();
    let broken = Broken::one_way_or_both(strike, picked.iter().map(|&node| &routes.redis[node]).collect());
    let lasts = field.lease.mul_f64(LASTS_IN_LEASES);
    let within = lasts.min(Duration::from_millis(200));
    let silences = join_all(broken.lines().map(|line| silent(line.addr(), b"PING\r\n", within))).await;
    let in_flight = field.in_flight();
    tokio::time::sleep(lasts).await;
    let what = broken.what();
    drop(broken);
    let fired = silences.iter().all(|silent| *silent) && in_flight > 0;
    Ok(field.struck(names(&picked), from_ms, fired, format!("{what} held back with {in_flight} orders on their way")))
}
