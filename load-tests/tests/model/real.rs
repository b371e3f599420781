//! Claim strictly, read, write once: it holds. And the two belts: each of strictness and
//! write-once carries alone where nothing else is missing.

use crate::checker::{assert_holds, assert_walks_hold};
use crate::properties::{ALL_HOLD, ALL_SOLD, ONE_IS_REFUSED, ONE_IS_STALE, ONE_SEALS};
use crate::rules::Version;
use crate::world::{Neighbour, World};

const ON_NODES: [&str; 5] = [ALL_HOLD, ONE_SEALS, ALL_SOLD, ONE_IS_STALE, ONE_IS_REFUSED];
const ON_ANY_TOKEN: [&str; 4] = [ALL_HOLD, ALL_SOLD, ONE_IS_STALE, ONE_IS_REFUSED];

#[test]
fn a_strict_claim_and_a_write_once_hold_whatever_the_nodes_forget() {
    let world = World::hostile(Version::ClaimStrictWriteOnce);
    assert_holds("claim strictly, write once", world, &ON_NODES);
}

#[test]
fn a_strict_claim_and_a_write_once_hold_whatever_tokens_the_lock_hands_out() {
    let world = World::any_token(Version::ClaimStrictWriteOnce);
    assert_holds("claim strictly, write once, any token", world, &ON_ANY_TOKEN);
}

#[test]
fn random_walks_of_three_clients_beside_a_neighbour_find_nothing() {
    let world = World {
        clients: 3,
        neighbour: Neighbour::BumpsFence,
        neighbour_updates: 1,
        ..World::hostile(Version::ClaimStrictWriteOnce)
    };
    assert_walks_hold("claim strictly, write once, walks", world, 200_000, &ON_NODES);
}

#[test]
fn a_claim_that_is_not_strict_holds_as_long_as_the_write_is_once() {
    let world = World::hostile(Version::ClaimNotStrict);
    assert_holds("claim not strict, write once", world, &ON_NODES);
    let world = World::any_token(Version::ClaimNotStrict);
    assert_holds("claim not strict, write once, any token", world, &ON_ANY_TOKEN);
}

#[test]
fn a_write_that_is_not_once_holds_as_long_as_the_claim_is_strict_and_nothing_arrives_twice() {
    let world = World { duplicates: 0, ..World::hostile(Version::ClaimWithoutWriteOnce) };
    assert_holds("claim strictly, not once, no duplicate", world, &ON_NODES);
    let world = World { duplicates: 0, ..World::any_token(Version::ClaimWithoutWriteOnce) };
    assert_holds("claim strictly, not once, no duplicate, any token", world, &ON_ANY_TOKEN);
}

/// Folding saves states, and must not save the protocol.
#[test]
fn without_folding_the_verdict_is_the_same() {
    let stock = World { folded: false, amnesia: 1, ..World::one_lapse(Version::ClaimStrictWriteOnce) };
    assert_holds("claim strictly, write once, not folded", stock, &ON_NODES);
    let tokens = World { folded: false, clients: 2, ..World::tokens(Version::ClaimStrictWriteOnce) };
    assert_holds("sealed tokens, not folded", tokens, &[ALL_HOLD, ONE_SEALS]);
}
