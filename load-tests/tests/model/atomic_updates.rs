//! A fenced holder concurrent with `update … set available = available - 1 where available >= 1`: each is safe alone;
//! both together only if the update raises the fence.

use crate::checker::{assert_holds, assert_violated};
use crate::properties::{A_CLAIM_IS_REFUSED, A_WRITE_IS_REFUSED, ALL_GRANTED, ALL_SOLD, NOT_OVERSOLD};
use crate::protocol_model::{AtomicUpdate, ProtocolModel};
use crate::rules::Version;

const REACHED: [&str; 4] = [ALL_GRANTED, ALL_SOLD, A_CLAIM_IS_REFUSED, A_WRITE_IS_REFUSED];

#[test]
fn a_fenced_holder_with_an_update_that_leaves_the_fence_oversells() {
    let model = ProtocolModel {
        clients: 1,
        atomic_update: AtomicUpdate::LeavesFence,
        atomic_updates: 1,
        ..ProtocolModel::no_failures(Version::ClaimStrictWriteOnce)
    };
    assert_violated("fenced with atomic update, fence left", model, NOT_OVERSOLD);
}

#[test]
fn a_fenced_holder_with_an_update_that_raises_the_fence_is_safe() {
    let model = ProtocolModel {
        atomic_update: AtomicUpdate::RaisesFence,
        atomic_updates: 1,
        ..ProtocolModel::hostile(Version::ClaimStrictWriteOnce)
    };
    assert_holds("fenced with atomic update, fence raised", model, &REACHED);
    let model = ProtocolModel {
        atomic_update: AtomicUpdate::RaisesFence,
        atomic_updates: 2,
        ..ProtocolModel::any_token(Version::ClaimStrictWriteOnce)
    };
    assert_holds("fenced with atomic update, fence raised, any token", model, &REACHED);
}
