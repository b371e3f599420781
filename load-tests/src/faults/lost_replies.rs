//! Orders are placed, and the connection breaks before the customer hears of it: what one replica of order answers is
//! held back, and then its connections are cut. A customer who asks again under the same key must be told what happened,
//! and must not be sold anything a second time.
//!
//! Fired means: the order service had finished an order whose customer was still waiting when the line was cut.

use std::time::Duration;

use anyhow::Context as _;
use tokio::time::{Instant, sleep};

use super::lock_probe::LOOK_AGAIN;
use super::{FaultContext, FaultEvent};
use crate::scenario::plan::Injection;

/// Some order should have been finished by then.
const FINISHED_WITHIN: Duration = Duration::from_secs(2);

pub(super) async fn inject(context: &FaultContext<'_>) -> anyhow::Result<Vec<FaultEvent>> {
    context.each_while_busy(async |injection| lose(context, injection).await).await
}

async fn lose(context: &FaultContext<'_>, injection: &Injection) -> anyhow::Result<FaultEvent> {
    let lines = &context.proxies()?.orders;
    let replica = injection.replica % lines.len().max(1);
    let line = lines.get(replica).context("no proxy stands before the order service")?;
    let from_ms = context.now_ms();
    line.drop_to_client(true);
    let deadline = Instant::now() + FINISHED_WITHIN;
    // The other replica's answers arrive; who waits although all is done, waits for this one.
    let mut lost = 0;
    while lost == 0 && !context.is_over() && Instant::now() < deadline {
        sleep(LOOK_AGAIN).await;
        let waiting: Vec<String> = context.targets.iter().flat_map(|target| target.history.keys_in_flight()).collect();
        let done = context.auditor.finished(&waiting).await;
        sleep(LOOK_AGAIN).await;
        let still: Vec<String> = context.targets.iter().flat_map(|target| target.history.keys_in_flight()).collect();
        lost = done.map_or(0, |done| done.iter().filter(|key| still.contains(key)).count());
    }
    line.cut();
    line.heal();
    let name = format!("customers to order-{}", replica + 1);
    Ok(context.events(name, from_ms, lost > 0, format!("{lost} answers were lost")))
}
