//! An order replica is killed by SIGKILL in the middle of orders, and started again at once. Its locks stay until their
//! leases end, its keys until they fall due; then its customers, or a reconciler, finish what it began.
//!
//! Fired means: the kernel reported its end, and a customer's connection broke over it.

use std::time::Duration;

use tokio::time::timeout;

use super::{FaultContext, FaultEvent};
use crate::scenario::plan::Injection;

/// A connection to a process that is gone breaks at once; this is for slow machines.
const NOTICED_WITHIN: Duration = Duration::from_secs(5);

pub(super) async fn inject(context: &FaultContext<'_>) -> anyhow::Result<Vec<FaultEvent>> {
    context.each_while_busy(async |injection| kill(context, injection).await).await
}

async fn kill(context: &FaultContext<'_>, injection: &Injection) -> anyhow::Result<FaultEvent> {
    let control = context.order(injection)?;
    let service = control.service().ok_or_else(|| anyhow::anyhow!("{} is not ours to kill", control.name()))?;
    let (from_ms, before) = (context.now_ms(), context.tally().silences());
    let broken = async {
        while context.tally().silences() == before {
            tokio::time::sleep(super::lock_probe::LOOK_AGAIN).await;
        }
    };
    let pid = control.pid();
    service.kill().await?;
    let noticed = timeout(NOTICED_WITHIN, async {
        tokio::select! { () = broken => true, () = context.ended() => false }
    });
    let (noticed, restarted) = tokio::join!(noticed, service.restart());
    restarted?;
    let fired = noticed.unwrap_or(false);
    let outcome = if fired { "customers lost their connection" } else { "no customer noticed" };
    Ok(context.events(control.name().to_owned(), from_ms, fired && control.pid() != pid, outcome.to_owned()))
}
