//! A fenced holder beside `update … set available = available - 1 where available >= 1`:
//! safe alone, each of them; together only if the update moves the fence as well.

use crate::checker::{assert_breaks, assert_holds};
use crate::properties::{ALL_HOLD, ALL_SOLD, NOT_OVERSOLD, ONE_IS_REFUSED, ONE_IS_STALE};
use crate::rules::Version;
use crate::world::{Neighbour, World};

const HAPPENS: [&str; 4] = [ALL_HOLD, ALL_SOLD, ONE_IS_STALE, ONE_IS_REFUSED];

#[test]
fn a_fenced_holder_beside_an_update_that_leaves_the_fence_alone_oversells() {
    let world = World {
        clients: 1,
        neighbour: Neighbour::Plain,
        neighbour_updates: 1,
        ..World::calm(Version::ClaimStrictWriteOnce)
    };
    assert_breaks("fenced beside atomic, no bump", world, NOT_OVERSOLD);
}

#[test]
fn a_fenced_holder_beside_an_update_that_moves_the_fence_holds() {
    let world = World {
        neighbour: Neighbour::BumpsFence,
        neighbour_updates: 1,
        ..World::hostile(Version::ClaimStrictWriteOnce)
    };
    assert_holds("fenced beside atomic, bump", world, &HAPPENS);
    let world = World {
        neighbour: Neighbour::BumpsFence,
        neighbour_updates: 2,
        ..World::any_token(Version::ClaimStrictWriteOnce)
    };
    assert_holds("fenced beside atomic, bump, any token", world, &HAPPENS);
}
