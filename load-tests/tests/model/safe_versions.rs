//! Claim strictly, read, write once: the protocol is safe. It stays safe without strictness, or without write-once
//! where no write arrives twice.

use crate::checker::{assert_holds, assert_walks_hold};
use crate::properties::{A_CLAIM_IS_REFUSED, A_TOKEN_IS_SEALED, A_WRITE_IS_REFUSED, ALL_GRANTED, ALL_SOLD};
use crate::protocol_model::{AtomicUpdate, ProtocolModel};
use crate::rules::Version;

const ON_NODES: [&str; 5] = [ALL_GRANTED, A_TOKEN_IS_SEALED, ALL_SOLD, A_CLAIM_IS_REFUSED, A_WRITE_IS_REFUSED];
const ON_ANY_TOKEN: [&str; 4] = [ALL_GRANTED, ALL_SOLD, A_CLAIM_IS_REFUSED, A_WRITE_IS_REFUSED];

#[test]
fn a_strict_claim_with_write_once_is_safe_whatever_the_nodes_forget() {
    let model = ProtocolModel::hostile(Version::ClaimStrictWriteOnce);
    assert_holds("claim strictly, write once", model, &ON_NODES);
}

#[test]
fn a_strict_claim_with_write_once_is_safe_whatever_tokens_the_lock_issues() {
    let model = ProtocolModel::any_token(Version::ClaimStrictWriteOnce);
    assert_holds("claim strictly, write once, any token", model, &ON_ANY_TOKEN);
}

#[test]
fn random_walks_of_three_clients_and_an_atomic_update_find_no_violation() {
    let model = ProtocolModel {
        clients: 3,
        atomic_update: AtomicUpdate::RaisesFence,
        atomic_updates: 1,
        ..ProtocolModel::hostile(Version::ClaimStrictWriteOnce)
    };
    assert_walks_hold("claim strictly, write once, walks", model, 200_000, &ON_NODES);
}

#[test]
fn a_claim_that_is_not_strict_is_safe_with_write_once() {
    let model = ProtocolModel::hostile(Version::ClaimNotStrict);
    assert_holds("claim not strict, write once", model, &ON_NODES);
    let model = ProtocolModel::any_token(Version::ClaimNotStrict);
    assert_holds("claim not strict, write once, any token", model, &ON_ANY_TOKEN);
}

#[test]
fn a_strict_claim_without_write_once_is_safe_while_no_write_arrives_twice() {
    let model = ProtocolModel { duplicates: 0, ..ProtocolModel::hostile(Version::ClaimWithoutWriteOnce) };
    assert_holds("claim strictly, no write-once, no duplicate", model, &ON_NODES);
    let model = ProtocolModel { duplicates: 0, ..ProtocolModel::any_token(Version::ClaimWithoutWriteOnce) };
    assert_holds("claim strictly, no write-once, no duplicate, any token", model, &ON_ANY_TOKEN);
}

/// Symmetry reduction removes states, and must not hide a violation.
#[test]
fn without_symmetry_reduction_the_result_is_the_same() {
    let stock = ProtocolModel {
        symmetry_reduced: false,
        amnesia: 1,
        ..ProtocolModel::one_lease_lapses(Version::ClaimStrictWriteOnce)
    };
    assert_holds("claim strictly, write once, no symmetry reduction", stock, &ON_NODES);
    let tokens = ProtocolModel {
        symmetry_reduced: false,
        clients: 2,
        ..ProtocolModel::tokens_only(Version::ClaimStrictWriteOnce)
    };
    assert_holds("sealed tokens, no symmetry reduction", tokens, &[ALL_GRANTED, A_TOKEN_IS_SEALED]);
}
