//! What must hold, one function a rule, over data that was read before. No I/O, no clock.

pub(super) mod answers;
pub(super) mod ledger;
pub(super) mod orders;
pub(super) mod stock;

#[cfg(test)]
mod forged;
