//! An inventory replica is killed by SIGKILL in the middle of orders, and started again at once. A write that it had
//! begun is undone by Postgres, or was committed and nobody heard of it: order has to find out.
//!
//! Fired means: the kernel reported its end while orders were on their way, and another process took its place.

use super::{FaultContext, FaultEvent};
use crate::scenario::plan::Injection;

pub(super) async fn inject(context: &FaultContext<'_>) -> anyhow::Result<Vec<FaultEvent>> {
    context.each_while_busy(async |injection| kill(context, injection).await).await
}

async fn kill(context: &FaultContext<'_>, injection: &Injection) -> anyhow::Result<FaultEvent> {
    let control = context.inventory_replica(injection)?;
    let service = control.service().ok_or_else(|| anyhow::anyhow!("{} is not ours to kill", control.name()))?;
    let (from_ms, pid) = (context.now_ms(), control.pid());
    service.kill().await?;
    let in_flight = context.in_flight();
    service.restart().await?;
    let fired = in_flight > 0 && control.pid() != pid;
    Ok(context.events(control.name().to_owned(), from_ms, fired, format!("{in_flight} orders were on their way")))
}
