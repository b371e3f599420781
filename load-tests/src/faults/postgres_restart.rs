//! Postgres ends without a checkpoint, as in a crash, and recovers from its log: every connection breaks, what was in
//! flight is gone, what was committed stays. Both databases are in it.
//!
//! Fired means: another process answers on the same port, and orders were on their way when the first one ended.

use super::{FaultContext, FaultEvent};

pub(super) async fn inject(context: &FaultContext<'_>) -> anyhow::Result<Vec<FaultEvent>> {
    context.each_while_busy(async |_| crash(context).await).await
}

async fn crash(context: &FaultContext<'_>) -> anyhow::Result<FaultEvent> {
    let mut postgres = context.servers()?.postgres.lock().await;
    let (from_ms, pid, in_flight) = (context.now_ms(), postgres.pid(), context.in_flight());
    postgres.restart_immediate().await?;
    let fired = in_flight > 0 && postgres.pid() != pid;
    Ok(context.events("postgres".to_owned(), from_ms, fired, format!("{in_flight} orders were on their way")))
}
