//! A replica that stops itself in the middle of a write, at a point that a signal from outside would miss.

use std::time::Duration;

use tokio::time::sleep;

use crate::cluster::lab_client::LabClient;
use crate::cluster::process::ReplicaProcess;
use crate::faults::context::FaultContext;

/// A write of an armed SKU begins by then; otherwise another SKU is more likely to be written.
const STOPS_WITHIN: Duration = Duration::from_secs(3);

/// Arms a replica, and waits until it has stopped itself. `false`: no write of this SKU began; the replica is disarmed and
/// runs.
pub(crate) async fn arm_until_stopped(
    context: &FaultContext<'_>,
    service: &LabClient,
    replica: usize,
    process: &ReplicaProcess,
    sku: &str,
) -> anyhow::Result<bool> {
    service.arm(replica, sku).await?;
    tokio::select! {
        stopped = process.stopped() => return stopped.map(|()| true),
        () = context.sale_ended() => {}
        () = sleep(STOPS_WITHIN) => {}
    }
    // It may stop at this very moment; then it does not answer, and has stopped.
    tokio::select! {
        disarmed = service.disarm(replica) => disarmed.map(|()| false),
        stopped = process.stopped() => stopped.map(|()| true),
    }
}
