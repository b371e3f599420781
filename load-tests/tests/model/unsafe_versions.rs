//! The usual versions, and the real one with one condition less: how each loses an update.

use crate::checker::{assert_breaks, assert_holds};
use crate::properties::{ABSENT_STAYS_ABSENT, ALL_GRANTED, ALL_SOLD, NO_LOST_UPDATE, NOT_OVERSOLD, TOKENS_ORDERED};
use crate::protocol_model::{Lapses, ProtocolModel};
use crate::rules::Version;

#[test]
fn without_a_lock_two_clients_sell_the_last_unit() {
    assert_breaks("no lock", ProtocolModel::no_failures(Version::NoLock), NOT_OVERSOLD);
}

#[test]
fn redlock_without_a_fence_is_safe_as_long_as_no_lease_lapses() {
    assert_holds(
        "redlock, no fence, no lapse",
        ProtocolModel::no_failures(Version::RedlockNoFence),
        &[ALL_GRANTED, ALL_SOLD],
    );
}

#[test]
fn redlock_without_a_fence_oversells_once_one_lease_lapses() {
    let model = ProtocolModel::one_lease_lapses(Version::RedlockNoFence);
    assert_breaks("redlock, no fence", model, NOT_OVERSOLD);
}

#[test]
fn redlock_without_a_fence_oversells_once_one_node_drops_one_key_early() {
    let model = ProtocolModel {
        lapses: Lapses::AtMost { leases: 0, keys: 1 },
        ..ProtocolModel::no_failures(Version::RedlockNoFence)
    };
    assert_breaks("redlock, no fence, one key", model, NOT_OVERSOLD);
}

#[test]
fn the_textbook_fence_oversells_since_the_write_is_the_first_the_storage_hears_of_it() {
    let model = ProtocolModel::one_lease_lapses(Version::TextbookWriteFence);
    assert_breaks("textbook write fence", model, NOT_OVERSOLD);
}

#[test]
fn a_sequence_after_the_lock_gives_a_stale_holder_the_highest_token() {
    let model = ProtocolModel::one_lease_lapses(Version::SequenceAfterLock);
    assert_breaks("sequence after the lock", model, TOKENS_ORDERED);
    assert_breaks("sequence after the lock", model, NOT_OVERSOLD);
}

#[test]
fn reading_before_the_claim_oversells() {
    let model = ProtocolModel::one_lease_lapses(Version::ReadBeforeClaim);
    assert_breaks("read, then claim", model, NOT_OVERSOLD);
}

#[test]
fn a_claim_that_the_write_does_not_check_oversells() {
    let model = ProtocolModel::one_lease_lapses(Version::ClaimWithoutFenceAtWrite);
    assert_breaks("claim, no fence at the write", model, NOT_OVERSOLD);
}

#[test]
fn a_claim_that_the_write_does_not_check_lets_an_absent_order_land_after_all() {
    let model = ProtocolModel { units: 2, ..ProtocolModel::one_lease_lapses(Version::ClaimWithoutFenceAtWrite) };
    assert_breaks("claim, no fence at the write", model, ABSENT_STAYS_ABSENT);
}

#[test]
fn a_write_that_is_not_once_sells_twice_when_it_arrives_twice() {
    let model = ProtocolModel { duplicates: 1, ..ProtocolModel::no_failures(Version::ClaimWithoutWriteOnce) };
    assert_breaks("claim, not once", model, NOT_OVERSOLD);
}

#[test]
fn a_claim_neither_strict_nor_once_loses_an_update_when_a_node_forgets() {
    let model = ProtocolModel { amnesia: 1, ..ProtocolModel::one_lease_lapses(Version::ClaimNeitherStrictNorOnce) };
    assert_breaks("claim neither strict nor once", model, NO_LOST_UPDATE);
}
