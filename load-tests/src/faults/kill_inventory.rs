//! An inventory replica is killed by SIGKILL in the middle of orders, and started again at once. A write that it had
//! begun is undone by Postgres, or was committed and nobody heard of it: order has to find out.
//!
//! Fired means: the kernel reported its end while orders were on their way, and another process took its place.

use super::{Field, Struck};
use crate::scenario::plan::Strike;

pub(super) async fn strike(field: &Field<'_>) -> anyhow::Result<Vec<Struck>> {
    field.each_while_busy(async |strike| kill(field, strike).await).await
}

async fn kill(field: &Field<'_>, strike: &Strike) -> anyhow::Result<Struck> {
    let control = field.inventory_replica(strike)?;
    let service = control.service().ok_or_else(|| anyhow::anyhow!("{} is not ours to kill", control.name()))?;
    let (from_ms, pid) = (field.now_ms(), control.pid());
    service.kill().await?;
    let in_flight = field.in_flight();
    service.restart().await?;
    let fired = in_flight > 0 && control.pid() != pid;
    Ok(field.struck(control.name().to_owned(), from_ms, fired, format!("{in_flight} orders were on their way")))
}
