//! Nothing goes wrong: the row that the faults are compared with.

use super::spec::{FaultSpec, Needs, no_strategy};

pub(super) const SPEC: FaultSpec = FaultSpec {
    needs: Needs::Nothing,
    makes_writes_stale: false,
    certain_to_oversell: no_strategy,
    why: "Every lock keeps its holders apart; without a lock, orders overwrite each other.",
    inject: |_| Box::pin(async { Ok(Vec::new()) }),
};
