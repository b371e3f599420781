//! Lock nodes that are killed, and restart empty once every lease granted before has ended.

use std::time::Duration;

use futures_util::future::{join_all, try_join_all};
use tokio::time::{Instant, sleep, sleep_until, timeout};

use super::poll::POLL_INTERVAL;
use crate::faults::context::FaultContext;
use crate::faults::event::FaultEvent;
use crate::faults::injection::Injection;

/// A node that forgot its locks stays down until no client relies on them any more. Source: Redis documentation,
/// "Distributed Locks": delayed restarts.
const DOWN_IN_LEASES: f64 = 1.2;
/// By then an order has been answered while the nodes were down, if any was in flight.
const ANSWERED_WITHIN: Duration = Duration::from_secs(5);

/// The numbers of `count` lock nodes, of `all`, beginning with the one that the injection names.
pub(crate) fn pick_nodes(injection: &Injection, count: usize, all: usize) -> Vec<usize> {
    (0..count).map(|step| (injection.replica + step) % all).collect()
}

/// The names of the nodes, as in `pids` of `oversell stack --json`.
pub(crate) fn node_names(nodes: &[usize]) -> String {
    nodes.iter().map(|node| format!("redis-{}", node + 1)).collect::<Vec<_>>().join(" ")
}

/// Kills `count` nodes, keeps them down for longer than a lease, restarts them.
///
/// Fired: every one of them refused a connection, and an order was answered while they were down.
pub(crate) async fn take_down(
    context: &FaultContext<'_>,
    injection: &Injection,
    count: usize,
) -> anyhow::Result<FaultEvent> {
    let servers = context.servers()?;
    let picked = pick_nodes(injection, count, servers.redis.len());
    let mut nodes = join_all(picked.iter().map(|&node| servers.redis[node].lock())).await;
    let (from_ms, began, before) = (context.now_ms(), Instant::now(), context.tally().answers());
    join_all(nodes.iter_mut().map(|node| node.kill())).await;
    let pings = join_all(nodes.iter().map(|node| node.command(&["PING"]))).await;
    let all_down = pings.iter().all(Result::is_err);
    let answered = timeout(ANSWERED_WITHIN, async {
        tokio::select! { () = next_answer(context, before) => true, () = context.sale_ended() => false }
    });
    let answered = answered.await.unwrap_or(false);
    sleep_until(began + context.lease.mul_f64(DOWN_IN_LEASES)).await;
    try_join_all(nodes.iter_mut().map(|node| node.restart())).await?;
    let observed = format!("{} answers meanwhile", context.tally().answers() - before);
    Ok(context.event(node_names(&picked), from_ms, all_down && answered, observed))
}

/// Waits until there are more than `before` answers.
async fn next_answer(context: &FaultContext<'_>, before: u64) {
    while context.tally().answers() == before {
        sleep(POLL_INTERVAL).await;
    }
}
