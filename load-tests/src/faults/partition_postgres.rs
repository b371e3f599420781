//! Nothing gets through between one replica of inventory and its database: what is asked, in turn, or what is answered,
//! or both, for longer than the lease. The other replica goes on selling. A write that was held back arrives once the
//! line is healed, late, as if its sender had been paused; a write whose answer was held back was done, and nobody knows.
//!
//! Fired means: a question sent over the broken line was not answered, while orders were on their way.

use std::time::Duration;

use super::lock_probe::{Broken, silent};
use super::{FaultContext, FaultEvent};
use crate::scenario::plan::Injection;

const LASTS_IN_LEASES: f64 = 1.5;
/// Asks Postgres whether it speaks TLS; it answers one letter. Source: Postgres documentation, "SSLRequest".
const SSL_REQUEST: [u8; 8] = [0, 0, 0, 8, 4, 210, 22, 47];

pub(super) async fn inject(context: &FaultContext<'_>) -> anyhow::Result<Vec<FaultEvent>> {
    context.each_while_busy(async |injection| partition(context, injection).await).await
}

async fn partition(context: &FaultContext<'_>, injection: &Injection) -> anyhow::Result<FaultEvent> {
    let lines = &context.proxies()?.inventory_postgres;
    let replica = injection.replica % lines.len();
    let from_ms = context.now_ms();
    let broken = Broken::one_way_or_both(injection, vec![&lines[replica]]);
    let lasts = context.lease.mul_f64(LASTS_IN_LEASES);
    let silent = silent(lines[replica].addr(), &SSL_REQUEST, lasts.min(Duration::from_millis(200))).await;
    let in_flight = context.in_flight();
    tokio::time::sleep(lasts).await;
    let what = broken.what();
    drop(broken);
    let name = format!("inventory-{} to postgres", replica + 1);
    let outcome = format!("{what} held back with {in_flight} orders on their way");
    Ok(context.events(name, from_ms, silent && in_flight > 0, outcome))
}
