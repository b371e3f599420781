//! A minority of the lock nodes is killed, and comes back empty once every lease of before has ended: what Redlock is
//! there to survive.
//!
//! Fired means: every one of them refused a connection, and an order ended meanwhile.

use super::redis_majority_down::take_down;
use super::{FaultContext, FaultEvent};

pub(super) async fn inject(context: &FaultContext<'_>) -> anyhow::Result<Vec<FaultEvent>> {
    context
        .each_while_busy(async |injection| take_down(context, injection, context.servers()?.quorum() - 1).await)
        .await
}
