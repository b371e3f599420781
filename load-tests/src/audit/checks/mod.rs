//! What must hold, one function a rule, over data that was read before. No I/O; a clock only where a search gives up.

pub(super) mod answers;
pub(super) mod ledger;
pub(super) mod orders;
mod search;
pub(super) mod sold_out;
pub(super) mod stock;

#[cfg(test)]
mod corruption;

/// What a check that may give up has to say.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct CheckResult {
    /// What must not be.
    pub(super) found: Vec<String>,
    /// What it could not decide. Never a pass.
    pub(super) unknown: Vec<String>,
}
