//! How an order may guard stock, by name, and what each promises. How it works is the services' affair.

use std::fmt;

use clap::ValueEnum;
use serde::{Deserialize, Serialize};

use crate::faults::Fault;

/// A strategy, as the `Lock-Strategy` header spells it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, ValueEnum, Serialize, Deserialize)]
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
    /// An etcd lease, its token claimed before the read and checked at the write
    EtcdFenced,
    /// An ephemeral sequential node of ZooKeeper, its token claimed before the read and checked at the write
    ZookeeperFenced,
    /// A session advisory lock of Postgres, no check
    PostgresAdvisory,
    /// No lock, the row's version compared at the write, and tried again
    Optimistic,
    /// No lock service: `select … for update`, decided inside the transaction
    RowLock,
    /// No lock: one update that checks and decrements
    Atomic,
}

/// What a strategy locks with, as far as a stack has to be told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Backend {
    /// Nothing, or the database that is there anyway.
    Nothing,
    /// The first lock node alone.
    OneRedis,
    /// A quorum of the lock nodes.
    Redlock,
    /// etcd.
    Etcd,
    /// ZooKeeper.
    Zookeeper,
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
            Self::EtcdFenced => "etcd-fenced",
            Self::ZookeeperFenced => "zookeeper-fenced",
            Self::PostgresAdvisory => "postgres-advisory",
            Self::Optimistic => "optimistic",
            Self::RowLock => "row-lock",
            Self::Atomic => "atomic",
        }
    }

    /// Its token is claimed before the read, so that a stale write is refused.
    pub const fn claims(self) -> bool {
        match self {
            Self::RedlockFenced | Self::EtcdFenced | Self::ZookeeperFenced => true,
            Self::Off
            | Self::Redis
            | Self::Redlock
            | Self::RedlockWriteFence
            | Self::PostgresAdvisory
            | Self::Optimistic
            | Self::RowLock
            | Self::Atomic => false,
        }
    }

    /// It must not oversell under this fault. A lock alone promises that only while nothing goes wrong.
    pub const fn promises_no_oversell(self, fault: Fault) -> bool {
        match self {
            Self::Off => false,
            Self::Redis | Self::Redlock | Self::RedlockWriteFence | Self::PostgresAdvisory => {
                matches!(fault, Fault::None)
            }
            Self::RedlockFenced
            | Self::EtcdFenced
            | Self::ZookeeperFenced
            | Self::Optimistic
            | Self::RowLock
            | Self::Atomic => true,
        }
    }

    /// What it locks with.
    pub const fn backend(self) -> Backend {
        match self {
            Self::Off | Self::PostgresAdvisory | Self::Optimistic | Self::RowLock | Self::Atomic => Backend::Nothing,
            Self::Redis => Backend::OneRedis,
            Self::Redlock | Self::RedlockWriteFence | Self::RedlockFenced => Backend::Redlock,
            Self::EtcdFenced => Backend::Etcd,
            Self::ZookeeperFenced => Backend::Zookeeper,
        }
    }

    /// Its lock is a key on the lock nodes, which can be looked at.
    pub const fn locks_at_redis(self) -> bool {
        matches!(self.backend(), Backend::OneRedis | Backend::Redlock)
    }

    /// Payment is decided between read and write; where it cannot be, it is authorised before both.
    pub const fn decides_outside_the_database(self) -> bool {
        !matches!(self, Self::RowLock | Self::Atomic)
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

    #[test]
    fn whoever_claims_keeps_the_promise_under_every_fault() {
        for strategy in Strategy::value_variants().iter().filter(|strategy| strategy.claims()) {
            assert!(Fault::value_variants().iter().all(|&fault| strategy.promises_no_oversell(fault)));
        }
    }
}
