//! Customers send the same order twice at the same moment, to two replicas: a finger that trembles, a proxy that tries
//! again too early. The attack does it; here it is switched on and counted.
//!
//! Fired means: both copies of an order were answered.

use super::{Field, Struck};

pub(super) async fn strike(field: &Field<'_>) -> anyhow::Result<Vec<Struck>> {
    let from_ms = field.now_ms();
    let _twice = field.mischief.duplicates();
    field.ended().await;
    let of_lane = |lane: &super::LaneField| {
        let answered_twice = lane.history.tally().borrow().duplicates;
        let outcome = format!("{answered_twice} orders were answered twice");
        let all = field.struck("customers".to_owned(), from_ms, answered_twice > 0, outcome);
        Struck { strategy: Some(lane.strategy), ..all }
    };
    Ok(field.lanes.iter().map(of_lane).collect())
}
