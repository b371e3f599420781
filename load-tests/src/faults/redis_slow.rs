//! Lock nodes accept every request and answer much later: `CLIENT PAUSE`. In turn a minority, which must delay no order,
//! and a majority, without which no lock may be granted. The requests are executed afterwards, when their clients have
//! given up.
//!
//! Fired: every one of them left a request unanswered that it otherwise answers at once, while orders were in flight.

use std::time::Duration;

use futures_util::future::{join_all, try_join_all};
use tokio::time::sleep;

use super::context::FaultContext;
use super::event::FaultEvent;
use super::injection::Injection;
use super::spec::{FaultSpec, Needs, no_strategy};
use super::steps::partition::is_silent;
use super::steps::redis_outage::{node_names, pick_nodes};

/// Longer than a lock client waits for a node, shorter than an order waits for its lock.
const SLOW_IN_LEASES: f64 = 1.2;
/// A healthy node answers within this time.
const ANSWERS_WITHIN: Duration = Duration::from_millis(200);

pub(super) const SPEC: FaultSpec = FaultSpec {
    needs: Needs::OwnStack,
    makes_writes_stale: false,
    certain_to_oversell: no_strategy,
    why: "Clients do not wait for a slow minority; a slow majority leaves no quorum.",
    inject: |context| Box::pin(context.inject_while_busy(async |injection| slow_down(context, injection).await)),
};

async fn slow_down(context: &FaultContext<'_>, injection: &Injection) -> anyhow::Result<FaultEvent> {
    let servers = context.servers()?;
    let count = if injection.number.is_multiple_of(2) { servers.quorum() - 1 } else { servers.quorum() };
    let picked = pick_nodes(injection, count, servers.redis.len());
    let nodes = join_all(picked.iter().map(|&node| servers.redis[node].lock())).await;
    let (from_ms, lasts) = (context.now_ms(), context.lease.mul_f64(SLOW_IN_LEASES));
    let ms = lasts.as_millis().to_string();
    let pause = ["CLIENT", "PAUSE", &ms, "ALL"];
    try_join_all(nodes.iter().map(|node| node.command(&pause))).await?;
    let within = lasts.min(ANSWERS_WITHIN);
    let silent = join_all(nodes.iter().map(|node| is_silent(node.addr(), b"PING\r\n", within))).await;
    let in_flight = context.in_flight();
    sleep(lasts).await;
    let fired = silent.iter().all(|silent| *silent) && in_flight > 0;
    Ok(context.event(node_names(&picked), from_ms, fired, format!("no answer, {in_flight} orders in flight")))
}
