//! Customers send the same order twice at the same moment, to two replicas: a finger that trembles, a proxy that tries
//! again too early. The attack does it; here it is switched on and counted.
//!
//! Fired means: both copies of an order were answered.

use super::{FaultContext, FaultEvent};

pub(super) async fn inject(context: &FaultContext<'_>) -> anyhow::Result<Vec<FaultEvent>> {
    let from_ms = context.now_ms();
    let _twice = context.duplicates.duplicates();
    context.ended().await;
    let of_lane = |target: &super::FaultTarget| {
        let answered_twice = target.history.tally().borrow().duplicates;
        let outcome = format!("{answered_twice} orders were answered twice");
        let all = context.events("customers".to_owned(), from_ms, answered_twice > 0, outcome);
        FaultEvent { strategy: Some(target.strategy), ..all }
    };
    Ok(context.targets.iter().map(of_lane).collect())
}
