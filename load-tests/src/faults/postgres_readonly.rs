//! Postgres refuses writes for a while, as after a fail-over, when its address points to a standby: connections stay
//! open, reads are answered. Both databases are on this server.
//!
//! Fired: a write was refused with SQLSTATE 25006 while orders were in flight.

use tokio::time::sleep;

use super::context::FaultContext;
use super::event::FaultEvent;
use super::spec::{FaultSpec, Needs, no_strategy};

/// Longer than any lock that was granted before.
const LASTS_IN_LEASES: f64 = 1.5;

pub(super) const SPEC: FaultSpec = FaultSpec {
    needs: Needs::OwnStack,
    makes_writes_stale: false,
    certain_to_oversell: no_strategy,
    why: "A refused write changed nothing: its order is tried again or answered 503.",
    inject: |context| Box::pin(context.inject_while_busy(async |_| refuse_writes(context).await)),
};

async fn refuse_writes(context: &FaultContext<'_>) -> anyhow::Result<FaultEvent> {
    let postgres = context.servers()?.postgres.lock().await;
    // Those that are under way now meet the change; when it is confirmed, on a busy machine, all of them may have been refused.
    let (from_ms, met) = (context.now_ms(), context.in_flight());
    let changed = postgres.set_read_only(true).await;
    let refused = postgres.is_read_only().await;
    let in_flight = met.max(context.in_flight());
    sleep(context.lease.mul_f64(LASTS_IN_LEASES)).await;
    // It accepts writes again before anything is reported.
    postgres.set_read_only(false).await?;
    changed?;
    let fired = refused? && in_flight > 0;
    Ok(context.event("postgres".to_owned(), from_ms, fired, format!("writes refused, {in_flight} orders in flight")))
}
