//! A fenced holder beside `update … set available = available - 1 where available >= 1`:
//! safe alone, each of them; together only if the update moves the fence as well.

use crate::checker::{assert_breaks, assert_holds};
use crate::properties::{A_CLAIM_IS_REFUSED, A_WRITE_IS_REFUSED, ALL_GRANTED, ALL_SOLD, NOT_OVERSOLD};
use crate::protocol_model::{AtomicUpdate, ProtocolModel};
use crate::rules::Version;

const HAPPENS: [&str; 4] = [ALL_GRANTED, ALL_SOLD, A_CLAIM_IS_REFUSED, A_WRITE_IS_REFUSED];

#[test]
fn a_fenced_holder_beside_an_update_that_leaves_the_fence_alone_oversells() {
    let model = ProtocolModel {
        clients: 1,
        atomic_update: AtomicUpdate::LeavesFence,
        atomic_updates: 1,
        ..ProtocolModel::no_failures(Version::ClaimStrictWriteOnce)
    };
    assert_breaks("fenced beside atomic, no bump", model, NOT_OVERSOLD);
}

#[test]
fn a_fenced_holder_beside_an_update_that_moves_the_fence_holds() {
    let model = ProtocolModel {
        atomic_update: AtomicUpdate::RaisesFence,
        atomic_updates: 1,
        ..ProtocolModel::hostile(Version::ClaimStrictWriteOnce)
    };
    assert_holds("fenced beside atomic, bump", model, &HAPPENS);
    let model = ProtocolModel {
        atomic_update: AtomicUpdate::RaisesFence,
        atomic_updates: 2,
        ..ProtocolModel::any_token(Version::ClaimStrictWriteOnce)
    };
    assert_holds("fenced beside atomic, bump, any token", model, &HAPPENS);
}
