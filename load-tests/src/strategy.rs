//! How an order may guard stock, by name, and what each promises. How it works is the services' affair.

use std::fmt;

use clap::ValueEnum;
use serde::Serialize;

use crate::faults::Fault;

/// A strategy, as the `Lock-Strategy` header spells it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, ValueEnum, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Strategy {
    /// No lock, no check
    Off,
    /// One Redis node, no check
    Redis,
    /// Redlock, no check
    Redlock,
    /// Redlock, the token compared at the write only: the textbook's fence, and its hole
    RedlockWriteFence,
    /// Redlock, the token claimed before the read and checked at the write
    RedlockFenced,
}

impl Strategy {
    /// As in headers, reports and databases.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Off => "off",
            Self::Redis => "redis",
            Self::Redlock => "redlock",
            Self::RedlockWriteFence => "redlock-write-fence",
            Self::RedlockFenced => "redlock-fenced",
        }
    }

    /// Its token is claimed before the read, so that a stale write is refused.
    pub const fn claims(self) -> bool {
        match self {
            Self::Off | Self::Redis | Self::Redlock | Self::RedlockWriteFence => false,
            Self::RedlockFenced => true,
        }
    }

    /// It must not oversell under this fault. A lock alone promises that only while nothing goes wrong.
    pub const fn promises_no_oversell(self, fault: Fault) -> bool {
        match self {
            Self::Off => false,
            Self::Redis | Self::Redlock | Self::RedlockWriteFence => matches!(fault, Fault::None),
            Self::RedlockFenced => true,
        }
    }

    /// It waits for a lock that can lapse under its holder.
    pub const fn locks(self) -> bool {
        !matches!(self, Self::Off)
    }
}

impl fmt::Display for Strategy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_strategy_is_typed_as_it_is_named() {
        for strategy in Strategy::value_variants() {
            assert_eq!(Strategy::from_str(strategy.name(), false).as_ref(), Ok(strategy));
        }
    }

    #[test]
    fn a_lock_alone_promises_nothing_once_a_holder_is_paused() {
        assert!(Strategy::Redlock.promises_no_oversell(Fault::None));
        assert!(!Strategy::Redlock.promises_no_oversell(Fault::PauseInventory));
        assert!(Strategy::RedlockFenced.promises_no_oversell(Fault::PauseInventory));
    }
}
