//! What the lock nodes promise about tokens, and what each part of sealing is for.

use crate::checker::{assert_breaks, assert_holds};
use crate::properties::{ALL_HOLD, ONE_SEALS, TOKENS_ORDERED, TOKENS_UNIQUE};
use crate::rules::Version;
use crate::world::{Lapses, World};

#[test]
fn sealed_tokens_are_unique_and_follow_real_time() {
    assert_holds("sealed tokens", World::tokens(Version::ClaimStrictWriteOnce), &[ALL_HOLD, ONE_SEALS]);
}

#[test]
fn the_highest_counter_not_sealed_is_issued_twice_without_any_crash() {
    let nothing_goes_wrong =
        World { lapses: Lapses::AtMost { leases: 0, keys: 0 }, ..World::tokens(Version::MaxNotSealed) };
    assert_breaks("highest, not sealed", nothing_goes_wrong, TOKENS_UNIQUE);
    assert_breaks("highest, not sealed", nothing_goes_wrong, TOKENS_ORDERED);
}

#[test]
fn sealing_where_the_lock_is_no_longer_mine_issues_a_token_twice() {
    let world = World { clients: 2, ..World::tokens(Version::SealForgetsOwner) };
    assert_breaks("seal forgets the owner", world, TOKENS_UNIQUE);
}

#[test]
fn sealing_below_a_higher_counter_issues_a_token_twice() {
    let world = World::tokens(Version::SealForgetsCounter);
    assert_breaks("seal forgets the counter", world, TOKENS_UNIQUE);
}

/// Why the safety of stock must not depend on the lock: no lock can promise this.
#[test]
fn a_node_that_lost_its_memory_can_issue_a_token_twice() {
    let world = World { amnesia: 1, ..World::tokens(Version::ClaimStrictWriteOnce) };
    assert_breaks("sealed tokens, amnesia", world, TOKENS_UNIQUE);
}
