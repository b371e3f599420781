//! Orders are placed, and the connection breaks before the customer hears of it: what one replica of order answers is
//! held back, and then its connections are cut. A customer who asks again under the same key must be told what happened,
//! and must not be sold anything a second time.
//!
//! Fired means: the order service had finished an order whose customer was still waiting when the line was cut.

use std::time::Duration;

use anyhow::Context as _;
use tokio::time::{Instant, sleep};

use super::seen::LOOK_AGAIN;
use super::{Field, Struck};
use crate::scenario::plan::Strike;

/// Some order should have been finished by then.
const FINISHED_WITHIN: Duration = Duration::from_secs(2);

pub(super) async fn strike(field: &Field<'_>) -> anyhow::Result<Vec<Struck>> {
    field.each_while_busy(async |strike| lose(field, strike).await).await
}

async fn lose(field: &Field<'_>, strike: &Strike) -> anyhow::Result<Struck> {
    let lines = &field.routes()?.orders;
    let replica = strike.replica % lines.len().max(1);
    let line = lines.get(replica).context("no proxy stands before the order service")?;
    let from_ms = field.now_ms();
    line.drop_to_client(true);
    let deadline = Instant::now() + FINISHED_WITHIN;
    // The other replica's answers arrive; who waits although all is done, waits for this one.
    let mut lost = 0;
    while lost == 0 && !field.is_over() && Instant::now() < deadline {
        sleep(LOOK_AGAIN).await;
        let waiting: Vec<String> = field.lanes.iter().flat_map(|lane| lane.history.keys_in_flight()).collect();
        let done = field.auditor.finished(&waiting).await;
        sleep(LOOK_AGAIN).await;
        let still: Vec<String> = field.lanes.iter().flat_map(|lane| lane.history.keys_in_flight()).collect();
        lost = done.map_or(0, |done| done.iter().filter(|key| still.contains(key)).count());
    }
    line.cut();
    line.heal();
    let name = format!("customers to order-{}", replica + 1);
    Ok(field.struck(name, from_ms, lost > 0, format!("{lost} answers were lost")))
}
