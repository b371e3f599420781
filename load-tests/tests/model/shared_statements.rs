//! Claims and writes that share a statement: safe, if the conditions of each are checked after the effect of those before.

use crate::checker::{assert_holds, assert_violated};
use crate::properties::{
    A_CLAIM_IS_REFUSED, A_TOKEN_IS_SEALED, A_WRITE_IS_REFUSED, ALL_GRANTED, ALL_SOLD, NOT_OVERSOLD,
};
use crate::protocol_model::{Conditions, ProtocolModel, Statements};
use crate::rules::Version;

const ON_NODES: [&str; 5] = [ALL_GRANTED, A_TOKEN_IS_SEALED, ALL_SOLD, A_CLAIM_IS_REFUSED, A_WRITE_IS_REFUSED];
const ON_ANY_TOKEN: [&str; 4] = [ALL_GRANTED, ALL_SOLD, A_CLAIM_IS_REFUSED, A_WRITE_IS_REFUSED];

#[test]
fn claims_and_writes_that_share_a_statement_are_safe() {
    let model = ProtocolModel::hostile(Version::ClaimStrictWriteOnce).sharing();
    assert_holds("claim strictly, write once, shared statements", model, &ON_NODES);
    let model = ProtocolModel::any_token(Version::ClaimStrictWriteOnce).sharing();
    assert_holds("claim strictly, write once, shared statements, any token", model, &ON_ANY_TOKEN);
}

#[test]
fn checking_all_conditions_before_the_first_write_sells_twice_when_a_write_arrives_twice() {
    let model = ProtocolModel {
        duplicates: 1,
        statements: Statements::Shared(Conditions::AllFirst),
        ..ProtocolModel::no_failures(Version::ClaimStrictWriteOnce)
    };
    assert_violated("shared statements, conditions checked first", model, NOT_OVERSOLD);
}

#[test]
fn without_write_once_a_shared_statement_sells_twice_when_a_write_arrives_twice() {
    let model = ProtocolModel { duplicates: 1, ..ProtocolModel::no_failures(Version::ClaimWithoutWriteOnce) }.sharing();
    assert_violated("shared statements, no write-once", model, NOT_OVERSOLD);
}
