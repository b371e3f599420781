//! A majority of the lock nodes is killed, and restarts empty once every lease granted before has ended. No lock may be
//! granted until then: order fails closed.
//!
//! Fired: every one of them refused a connection, and an order was answered while they were down.

use super::spec::{FaultSpec, Needs, no_strategy};
use super::steps::redis_outage::take_down;

pub(super) const SPEC: FaultSpec = FaultSpec {
    needs: Needs::OwnStack,
    makes_writes_stale: false,
    certain_to_oversell: no_strategy,
    why: "No lock is granted: order fails closed.",
    inject: |context| {
        Box::pin(
            context
                .inject_while_busy(async |injection| take_down(context, injection, context.servers()?.quorum()).await),
        )
    },
};
