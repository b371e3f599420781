//! What lock nodes guarantee about tokens, and what each condition of sealing is for.

use crate::checker::{assert_holds, assert_violated};
use crate::properties::{A_TOKEN_IS_SEALED, ALL_GRANTED, TOKENS_ORDERED, TOKENS_UNIQUE};
use crate::protocol_model::{Lapses, ProtocolModel};
use crate::rules::Version;

#[test]
fn sealed_tokens_are_unique_and_in_real_time_order() {
    assert_holds(
        "sealed tokens",
        ProtocolModel::tokens_only(Version::ClaimStrictWriteOnce),
        &[ALL_GRANTED, A_TOKEN_IS_SEALED],
    );
}

#[test]
fn the_highest_counter_without_sealing_is_issued_twice_without_any_failure() {
    let no_failures = ProtocolModel {
        lapses: Lapses::AtMost { leases: 0, keys: 0 },
        ..ProtocolModel::tokens_only(Version::HighestNotSealed)
    };
    assert_violated("highest counter, not sealed", no_failures, TOKENS_UNIQUE);
    assert_violated("highest counter, not sealed", no_failures, TOKENS_ORDERED);
}

#[test]
fn sealing_without_the_owner_check_issues_a_token_twice() {
    let model = ProtocolModel { clients: 2, ..ProtocolModel::tokens_only(Version::SealWithoutOwnerCheck) };
    assert_violated("seal without owner check", model, TOKENS_UNIQUE);
}

#[test]
fn sealing_without_the_counter_check_issues_a_token_twice() {
    let model = ProtocolModel::tokens_only(Version::SealWithoutCounterCheck);
    assert_violated("seal without counter check", model, TOKENS_UNIQUE);
}

/// The safety of stock must not depend on unique tokens: no lock can guarantee them.
#[test]
fn a_node_that_restarts_empty_can_issue_a_token_twice() {
    let model = ProtocolModel { amnesia: 1, ..ProtocolModel::tokens_only(Version::ClaimStrictWriteOnce) };
    assert_violated("sealed tokens, amnesia", model, TOKENS_UNIQUE);
}
