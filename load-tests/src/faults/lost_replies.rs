//! Orders are placed, and the connection breaks before the customer receives the answer: the replies of one order replica
//! are held back, then its connections are cut. A customer who retries under the same key must receive the answer of the
//! first attempt, and must not be sold anything a second time.
//!
//! Fired: the order service had completed an order whose customer was still waiting when the connection was cut.

use std::time::Duration;

use anyhow::Context as _;
use tokio::time::{Instant, sleep};

use super::context::FaultContext;
use super::event::FaultEvent;
use super::injection::Injection;
use super::spec::{FaultSpec, Needs, no_strategy};
use super::steps::poll::POLL_INTERVAL;

/// By then an order has been completed, if any was in flight.
const COMPLETED_WITHIN: Duration = Duration::from_secs(2);

pub(super) const SPEC: FaultSpec = FaultSpec {
    needs: Needs::Proxies,
    makes_writes_stale: false,
    certain_to_oversell: no_strategy,
    why: "A retry under the same key receives the answer of the first attempt.",
    inject: |context| Box::pin(context.inject_while_busy(async |injection| lose_replies(context, injection).await)),
};

async fn lose_replies(context: &FaultContext<'_>, injection: &Injection) -> anyhow::Result<FaultEvent> {
    let proxies = &context.proxies()?.orders;
    let replica = injection.replica % proxies.len().max(1);
    let proxy = proxies.get(replica).context("no proxy stands between customers and order")?;
    let from_ms = context.now_ms();
    proxy.drop_to_client(true);
    let deadline = Instant::now() + COMPLETED_WITHIN;
    // The answers of the other replica arrive: a customer who still waits for a completed order waits for this replica.
    let mut lost = 0;
    while lost == 0 && !context.is_over() && Instant::now() < deadline {
        sleep(POLL_INTERVAL).await;
        let completed = context.auditor.finished(&keys_in_flight(context)).await;
        sleep(POLL_INTERVAL).await;
        let waiting = keys_in_flight(context);
        lost = completed.map_or(0, |completed| completed.iter().filter(|key| waiting.contains(key)).count());
    }
    proxy.cut();
    proxy.heal();
    let name = format!("customers to order-{}", replica + 1);
    Ok(context.event(name, from_ms, lost > 0, format!("{lost} answers were lost")))
}

/// The idempotency keys of all orders in flight.
fn keys_in_flight(context: &FaultContext<'_>) -> Vec<String> {
    context.targets.iter().flat_map(|target| target.history.keys_in_flight()).collect()
}
