//! The usual weaker protocols, and this one with one condition removed: the counterexample of each.

use crate::checker::{assert_holds, assert_violated};
use crate::properties::{ABSENT_STAYS_ABSENT, ALL_GRANTED, ALL_SOLD, NO_LOST_UPDATE, NOT_OVERSOLD, TOKENS_ORDERED};
use crate::protocol_model::{Lapses, ProtocolModel};
use crate::rules::Version;

#[test]
fn without_a_lock_two_clients_sell_the_last_unit() {
    assert_violated("no lock", ProtocolModel::no_failures(Version::NoLock), NOT_OVERSOLD);
}

#[test]
fn redlock_without_a_fence_is_safe_while_no_lease_lapses() {
    assert_holds(
        "redlock, no fence, no lapse",
        ProtocolModel::no_failures(Version::RedlockNoFence),
        &[ALL_GRANTED, ALL_SOLD],
    );
}

#[test]
fn redlock_without_a_fence_oversells_when_one_lease_lapses() {
    let model = ProtocolModel::one_lease_lapses(Version::RedlockNoFence);
    assert_violated("redlock, no fence", model, NOT_OVERSOLD);
}

#[test]
fn redlock_without_a_fence_oversells_when_one_key_expires_early_on_one_node() {
    let model = ProtocolModel {
        lapses: Lapses::AtMost { leases: 0, keys: 1 },
        ..ProtocolModel::no_failures(Version::RedlockNoFence)
    };
    assert_violated("redlock, no fence, one key expires early", model, NOT_OVERSOLD);
}

#[test]
fn the_textbook_fence_oversells_because_the_storage_learns_of_a_token_only_at_the_write() {
    let model = ProtocolModel::one_lease_lapses(Version::TextbookWriteFence);
    assert_violated("textbook write fence", model, NOT_OVERSOLD);
}

#[test]
fn a_sequence_after_the_lock_gives_a_stale_holder_the_highest_token() {
    let model = ProtocolModel::one_lease_lapses(Version::SequenceAfterLock);
    assert_violated("sequence after the lock", model, TOKENS_ORDERED);
    assert_violated("sequence after the lock", model, NOT_OVERSOLD);
}

#[test]
fn reading_before_the_claim_oversells() {
    let model = ProtocolModel::one_lease_lapses(Version::ReadBeforeClaim);
    assert_violated("read, then claim", model, NOT_OVERSOLD);
}

#[test]
fn a_claim_that_the_write_does_not_check_oversells() {
    let model = ProtocolModel::one_lease_lapses(Version::ClaimWithoutFenceAtWrite);
    assert_violated("claim, no fence at the write", model, NOT_OVERSOLD);
}

#[test]
fn a_claim_that_the_write_does_not_check_accepts_an_order_that_was_found_absent() {
    let model = ProtocolModel { units: 2, ..ProtocolModel::one_lease_lapses(Version::ClaimWithoutFenceAtWrite) };
    assert_violated("claim, no fence at the write", model, ABSENT_STAYS_ABSENT);
}

#[test]
fn a_write_without_write_once_sells_twice_when_it_arrives_twice() {
    let model = ProtocolModel { duplicates: 1, ..ProtocolModel::no_failures(Version::ClaimWithoutWriteOnce) };
    assert_violated("claim, no write-once", model, NOT_OVERSOLD);
}

#[test]
fn a_claim_not_strict_without_write_once_loses_an_update_when_a_node_restarts_empty() {
    let model = ProtocolModel { amnesia: 1, ..ProtocolModel::one_lease_lapses(Version::ClaimNeitherStrictNorOnce) };
    assert_violated("claim not strict, no write-once", model, NO_LOST_UPDATE);
}
