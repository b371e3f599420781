//! What the lock nodes promise about tokens, and what each part of sealing is for.

use crate::checker::{assert_breaks, assert_holds};
use crate::properties::{A_TOKEN_IS_SEALED, ALL_GRANTED, TOKENS_ORDERED, TOKENS_UNIQUE};
use crate::protocol_model::{Lapses, ProtocolModel};
use crate::rules::Version;

#[test]
fn sealed_tokens_are_unique_and_follow_real_time() {
    assert_holds(
        "sealed tokens",
        ProtocolModel::tokens_only(Version::ClaimStrictWriteOnce),
        &[ALL_GRANTED, A_TOKEN_IS_SEALED],
    );
}

#[test]
fn the_highest_counter_not_sealed_is_issued_twice_without_any_crash() {
    let nothing_goes_wrong = ProtocolModel {
        lapses: Lapses::AtMost { leases: 0, keys: 0 },
        ..ProtocolModel::tokens_only(Version::HighestNotSealed)
    };
    assert_breaks("highest, not sealed", nothing_goes_wrong, TOKENS_UNIQUE);
    assert_breaks("highest, not sealed", nothing_goes_wrong, TOKENS_ORDERED);
}

#[test]
fn sealing_where_the_lock_is_no_longer_mine_issues_a_token_twice() {
    let model = ProtocolModel { clients: 2, ..ProtocolModel::tokens_only(Version::SealWithoutOwnerCheck) };
    assert_breaks("seal forgets the owner", model, TOKENS_UNIQUE);
}

#[test]
fn sealing_below_a_higher_counter_issues_a_token_twice() {
    let model = ProtocolModel::tokens_only(Version::SealWithoutCounterCheck);
    assert_breaks("seal forgets the counter", model, TOKENS_UNIQUE);
}

/// Why the safety of stock must not depend on the lock: no lock can promise this.
#[test]
fn a_node_that_lost_its_memory_can_issue_a_token_twice() {
    let model = ProtocolModel { amnesia: 1, ..ProtocolModel::tokens_only(Version::ClaimStrictWriteOnce) };
    assert_breaks("sealed tokens, amnesia", model, TOKENS_UNIQUE);
}
