//! A majority of the lock nodes is killed, and comes back empty once every lease of before has ended. Nobody may be
//! granted the lock meanwhile: order fails closed.
//!
//! Fired means: every one of them refused a connection, and an order ended, or failed and was tried again, meanwhile.

use std::time::Duration;

use futures_util::future::{join_all, try_join_all};
use tokio::time::{Instant, sleep_until, timeout};

use super::{FaultContext, FaultEvent};
use crate::scenario::plan::Injection;

/// A node that forgot its locks is kept away until nobody can rely on them any more. Source: Redis documentation,
/// "Distributed Locks": delayed restarts.
const DOWN_IN_LEASES: f64 = 1.2;
/// By then an order has met the fault, if there are any.
const MET_WITHIN: Duration = Duration::from_secs(5);

pub(super) async fn inject(context: &FaultContext<'_>) -> anyhow::Result<Vec<FaultEvent>> {
    context.each_while_busy(async |injection| take_down(context, injection, context.servers()?.quorum()).await).await
}

/// Kills so many nodes, keeps them down for longer than a lease, starts them again.
pub(super) async fn take_down(
    context: &FaultContext<'_>,
    injection: &Injection,
    count: usize,
) -> anyhow::Result<FaultEvent> {
    let servers = context.servers()?;
    let picked: Vec<_> = (0..count).map(|step| (injection.replica + step) % servers.redis.len()).collect();
    let mut nodes = join_all(picked.iter().map(|&node| servers.redis[node].lock())).await;
    let (from_ms, began, before) = (context.now_ms(), Instant::now(), context.tally().answers());
    join_all(nodes.iter_mut().map(|node| node.kill())).await;
    let refused = join_all(nodes.iter().map(|node| node.command(&["PING"]))).await;
    let down = refused.iter().all(Result::is_err);
    let met = timeout(MET_WITHIN, async {
        tokio::select! { () = answered(context, before) => true, () = context.ended() => false }
    });
    let met = met.await.unwrap_or(false);
    sleep_until(began + context.lease.mul_f64(DOWN_IN_LEASES)).await;
    try_join_all(nodes.iter_mut().map(|node| node.restart())).await?;
    let outcome = format!("{} answers meanwhile", context.tally().answers() - before);
    Ok(context.events(names(&picked), from_ms, down && met, outcome))
}

/// Resolves when a customer has heard something since there were `before` answers.
pub(super) async fn answered(context: &FaultContext<'_>, before: u64) {
    while context.tally().answers() == before {
        tokio::time::sleep(super::lock_probe::LOOK_AGAIN).await;
    }
}

/// As in `pids` of `oversell stack --json`.
pub(super) fn names(nodes: &[usize]) -> String {
    nodes.iter().map(|node| format!("redis-{}", node + 1)).collect::<Vec<_>>().join(" ")
}
