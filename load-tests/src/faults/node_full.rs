//! Lock nodes reach their memory limit: they answer reads, keep the locks that they have and refuse every write, so they
//! grant nothing. In turn a minority, which must delay no order, and a majority, without which no lock may be granted.
//!
//! Fired: every one of them refused a write with `OOM`, while orders were in flight.

use futures_util::future::{join_all, try_join_all};
use testbed::{RedisNode, TestbedError};
use tokio::time::sleep;

use super::context::FaultContext;
use super::event::FaultEvent;
use super::injection::Injection;
use super::spec::{FaultSpec, Needs, no_strategy};
use super::steps::redis_outage::{node_names, pick_nodes};

/// Longer than any lock that was granted before.
const FULL_IN_LEASES: f64 = 1.2;

pub(super) const SPEC: FaultSpec = FaultSpec {
    needs: Needs::OwnStack,
    makes_writes_stale: false,
    certain_to_oversell: no_strategy,
    why: "A full node grants nothing and forgets nothing: a minority is outvoted, without a majority nothing is sold.",
    inject: |context| Box::pin(context.inject_while_busy(async |injection| fill(context, injection).await)),
};

async fn fill(context: &FaultContext<'_>, injection: &Injection) -> anyhow::Result<FaultEvent> {
    let servers = context.servers()?;
    let count = if injection.number.is_multiple_of(2) { servers.quorum() - 1 } else { servers.quorum() };
    let picked = pick_nodes(injection, count, servers.redis.len());
    let nodes = join_all(picked.iter().map(|&node| servers.redis[node].lock())).await;
    let from_ms = context.now_ms();
    let limits = join_all(nodes.iter().map(|node| limit_memory(node, "1"))).await;
    let refusals = join_all(nodes.iter().map(|node| refuses_writes(node))).await;
    let in_flight = context.in_flight();
    sleep(context.lease.mul_f64(FULL_IN_LEASES)).await;
    // Every node gets its memory back before anything is reported.
    let restored = try_join_all(nodes.iter().map(|node| limit_memory(node, "0"))).await;
    limits.into_iter().collect::<Result<Vec<_>, _>>()?;
    restored?;
    let fired = refusals.iter().all(|refused| *refused) && in_flight > 0;
    Ok(context.event(node_names(&picked), from_ms, fired, format!("writes refused, {in_flight} orders in flight")))
}

/// `0` is no limit.
async fn limit_memory(node: &RedisNode, bytes: &str) -> Result<String, TestbedError> {
    node.command(&["CONFIG", "SET", "maxmemory", bytes]).await
}

async fn refuses_writes(node: &RedisNode) -> bool {
    let written = node.command(&["SET", "lock:{full node}", "probe", "PX", "1"]).await;
    matches!(written, Err(TestbedError::Redis { source, .. }) if source.code() == Some("OOM"))
}
