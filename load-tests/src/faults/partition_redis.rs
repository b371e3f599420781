//! Traffic between the order service and some lock nodes is held back: requests, replies, or both, in turn; in turn of a
//! minority and of a majority. TCP delivers what was held back once the connection is healed: a node then grants or
//! releases a lock for a request that its client gave up long before.
//!
//! Fired: a request over each broken connection was not answered, while orders were in flight.

use std::time::Duration;

use futures_util::future::join_all;
use tokio::time::sleep;

use super::context::FaultContext;
use super::event::FaultEvent;
use super::injection::Injection;
use super::spec::{FaultSpec, Needs, no_strategy};
use super::steps::partition::{Partition, is_silent};
use super::steps::redis_outage::{node_names, pick_nodes};

/// Longer than the lease, so that a holder cannot release its lock.
const LASTS_IN_LEASES: f64 = 1.3;
/// A healthy connection answers within this time.
const ANSWERS_WITHIN: Duration = Duration::from_millis(200);

pub(super) const SPEC: FaultSpec = FaultSpec {
    needs: Needs::Proxies,
    makes_writes_stale: false,
    certain_to_oversell: no_strategy,
    why: "As with slow nodes: requests are executed late, when no client relies on them any more.",
    inject: |context| Box::pin(context.inject_while_busy(async |injection| partition(context, injection).await)),
};

async fn partition(context: &FaultContext<'_>, injection: &Injection) -> anyhow::Result<FaultEvent> {
    let (servers, proxies) = (context.servers()?, context.proxies()?);
    let count = if injection.number.is_multiple_of(2) { servers.quorum() - 1 } else { servers.quorum() };
    let picked = pick_nodes(injection, count, servers.redis.len());
    let from_ms = context.now_ms();
    let partition = Partition::begin(injection, picked.iter().map(|&node| &proxies.redis[node]).collect());
    let lasts = context.lease.mul_f64(LASTS_IN_LEASES);
    let within = lasts.min(ANSWERS_WITHIN);
    let silent = join_all(partition.proxies().map(|proxy| is_silent(proxy.addr(), b"PING\r\n", within))).await;
    let in_flight = context.in_flight();
    sleep(lasts).await;
    let direction = partition.direction();
    drop(partition);
    let fired = silent.iter().all(|silent| *silent) && in_flight > 0;
    let observed = format!("{direction} held back, {in_flight} orders in flight");
    Ok(context.event(node_names(&picked), from_ms, fired, observed))
}
