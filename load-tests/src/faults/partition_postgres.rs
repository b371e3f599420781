//! Traffic between one inventory replica and its database is held back for longer than a lease: requests, replies, or
//! both, in turn. The other replica continues to sell. A write that was held back arrives late, as from a paused
//! sender; a write whose reply was held back was executed, and order receives no answer.
//!
//! Fired: a request over the broken connection was not answered, while orders were in flight.

use std::time::Duration;

use tokio::time::sleep;

use super::context::FaultContext;
use super::event::FaultEvent;
use super::injection::Injection;
use super::spec::{FaultSpec, Needs, no_strategy};
use super::steps::partition::{Partition, SSL_REQUEST, is_silent};

const LASTS_IN_LEASES: f64 = 1.5;
/// A healthy connection answers within this time.
const ANSWERS_WITHIN: Duration = Duration::from_millis(200);

pub(super) const SPEC: FaultSpec = FaultSpec {
    needs: Needs::Proxies,
    makes_writes_stale: false,
    certain_to_oversell: no_strategy,
    why: "A write that was held back arrives late, as from a paused holder, if its transaction had begun in time.",
    inject: |context| Box::pin(context.inject_while_busy(async |injection| partition(context, injection).await)),
};

async fn partition(context: &FaultContext<'_>, injection: &Injection) -> anyhow::Result<FaultEvent> {
    let proxies = &context.proxies()?.inventory_postgres;
    let replica = injection.replica % proxies.len();
    let from_ms = context.now_ms();
    let partition = Partition::begin(injection, vec![&proxies[replica]]);
    let lasts = context.lease.mul_f64(LASTS_IN_LEASES);
    let silent = is_silent(proxies[replica].addr(), &SSL_REQUEST, lasts.min(ANSWERS_WITHIN)).await;
    let in_flight = context.in_flight();
    sleep(lasts).await;
    let direction = partition.direction();
    drop(partition);
    let name = format!("inventory-{} to postgres", replica + 1);
    let observed = format!("{direction} held back, {in_flight} orders in flight");
    Ok(context.event(name, from_ms, silent && in_flight > 0, observed))
}
