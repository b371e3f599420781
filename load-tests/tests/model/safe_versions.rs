//! Claim strictly, read, write once: it holds. And the two belts: each of strictness and
//! write-once carries alone where nothing else is missing.

use crate::checker::{assert_holds, assert_walks_hold};
use crate::properties::{A_CLAIM_IS_REFUSED, A_TOKEN_IS_SEALED, A_WRITE_IS_REFUSED, ALL_GRANTED, ALL_SOLD};
use crate::protocol_model::{AtomicUpdate, ProtocolModel};
use crate::rules::Version;

const ON_NODES: [&str; 5] = [ALL_GRANTED, A_TOKEN_IS_SEALED, ALL_SOLD, A_CLAIM_IS_REFUSED, A_WRITE_IS_REFUSED];
const ON_ANY_TOKEN: [&str; 4] = [ALL_GRANTED, ALL_SOLD, A_CLAIM_IS_REFUSED, A_WRITE_IS_REFUSED];

#[test]
fn a_strict_claim_and_a_write_once_hold_whatever_the_nodes_forget() {
    let model = ProtocolModel::hostile(Version::ClaimStrictWriteOnce);
    assert_holds("claim strictly, write once", model, &ON_NODES);
}

#[test]
fn a_strict_claim_and_a_write_once_hold_whatever_tokens_the_lock_hands_out() {
    let model = ProtocolModel::any_token(Version::ClaimStrictWriteOnce);
    assert_holds("claim strictly, write once, any token", model, &ON_ANY_TOKEN);
}

#[test]
fn random_walks_of_three_clients_beside_a_neighbour_find_nothing() {
    let model = ProtocolModel {
        clients: 3,
        atomic_update: AtomicUpdate::RaisesFence,
        atomic_updates: 1,
        ..ProtocolModel::hostile(Version::ClaimStrictWriteOnce)
    };
    assert_walks_hold("claim strictly, write once, walks", model, 200_000, &ON_NODES);
}

#[test]
fn a_claim_that_is_not_strict_holds_as_long_as_the_write_is_once() {
    let model = ProtocolModel::hostile(Version::ClaimNotStrict);
    assert_holds("claim not strict, write once", model, &ON_NODES);
    let model = ProtocolModel::any_token(Version::ClaimNotStrict);
    assert_holds("claim not strict, write once, any token", model, &ON_ANY_TOKEN);
}

#[test]
fn a_write_that_is_not_once_holds_as_long_as_the_claim_is_strict_and_nothing_arrives_twice() {
    let model = ProtocolModel { duplicates: 0, ..ProtocolModel::hostile(Version::ClaimWithoutWriteOnce) };
    assert_holds("claim strictly, not once, no duplicate", model, &ON_NODES);
    let model = ProtocolModel { duplicates: 0, ..ProtocolModel::any_token(Version::ClaimWithoutWriteOnce) };
    assert_holds("claim strictly, not once, no duplicate, any token", model, &ON_ANY_TOKEN);
}

/// Folding saves states, and must not save the protocol.
#[test]
fn without_folding_the_verdict_is_the_same() {
    let stock = ProtocolModel {
        symmetry_reduced: false,
        amnesia: 1,
        ..ProtocolModel::one_lease_lapses(Version::ClaimStrictWriteOnce)
    };
    assert_holds("claim strictly, write once, not symmetry_reduced", stock, &ON_NODES);
    let tokens = ProtocolModel {
        symmetry_reduced: false,
        clients: 2,
        ..ProtocolModel::tokens_only(Version::ClaimStrictWriteOnce)
    };
    assert_holds("sealed tokens, not symmetry_reduced", tokens, &[ALL_GRANTED, A_TOKEN_IS_SEALED]);
}
