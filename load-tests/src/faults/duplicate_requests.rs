//! Customers send the same order twice at the same time, to two replicas: a double click, or a proxy that retries too
//! early. The attack sends the duplicates; this fault switches them on and counts them.
//!
//! Fired: both copies of an order were answered.

use super::context::{FaultContext, FaultTarget};
use super::event::FaultEvent;
use super::spec::{FaultSpec, Needs, no_strategy};

pub(super) const SPEC: FaultSpec = FaultSpec {
    needs: Needs::Nothing,
    makes_writes_stale: false,
    certain_to_oversell: no_strategy,
    why: "One idempotency key is one order, and one order has one reservation.",
    inject: |context| Box::pin(inject(context)),
};

async fn inject(context: &FaultContext<'_>) -> anyhow::Result<Vec<FaultEvent>> {
    let from_ms = context.now_ms();
    let _twice = context.duplicates.send_twice();
    context.sale_ended().await;
    let of_target = |target: &FaultTarget| {
        let answered_twice = target.history.tally().borrow().duplicates;
        let observed = format!("{answered_twice} orders were answered twice");
        let event = context.event("customers".to_owned(), from_ms, answered_twice > 0, observed);
        FaultEvent { strategy: Some(target.strategy), ..event }
    };
    Ok(context.targets.iter().map(of_target).collect())
}
