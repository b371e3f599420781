//! How an order guards stock, as a closed set: what is locked, what is claimed,
//! what the write proves, and whether one that nobody answered can be resolved.
//! Nothing here talks to anything. A new strategy is one line in each of these matches.

use std::{fmt, str::FromStr};

/// How an order guards stock.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize, utoipa::ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Strategy {
    /// Nothing at all: read, decide, write what was computed.
    Off,
    /// One Redis node, no token.
    Redis,
    /// Redlock on all nodes; its token is not used.
    Redlock,
    /// Redlock, its token compared at the write only: the textbook's fence, and its hole.
    RedlockWriteFence,
    /// Redlock, its token claimed before reading and checked at the write.
    RedlockFenced,
    /// An etcd lease, its revision claimed before reading and checked at the write.
    EtcdFenced,
    /// An ephemeral node of ZooKeeper, its zxid claimed before reading and checked at the write.
    ZookeeperFenced,
    /// A session's advisory lock in Postgres, no token.
    PostgresAdvisory,
    /// No lock: the version that was read is compared at the write, and a write that lost is tried again.
    Optimistic,
    /// No lock of ours: the database locks the row, decides and writes in one transaction.
    RowLock,
    /// No lock: one statement that writes only where enough is left.
    Atomic,
}

/// Which lock a strategy takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LockKind {
    /// Granted at once, to everybody.
    None,
    /// The first lock node alone.
    OneRedis,
    /// A quorum of the lock nodes.
    Redlock,
    /// etcd.
    Etcd,
    /// ZooKeeper.
    Zookeeper,
    /// A Postgres session.
    Advisory,
}

/// What a write brings along for the storage to check.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Proof {
    /// Nothing.
    Nothing,
    /// The lock's fencing token.
    Token,
    /// The version of the row that was read.
    Version,
}

/// No strategy has this name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("no strategy is called {0:?}")]
pub struct UnknownStrategy(pub String);

impl Strategy {
    /// In the order in which a report lists them.
    pub const ALL: [Self; 11] = [
        Self::Off,
        Self::Redis,
        Self::Redlock,
        Self::RedlockWriteFence,
        Self::RedlockFenced,
        Self::EtcdFenced,
        Self::ZookeeperFenced,
        Self::PostgresAdvisory,
        Self::Optimistic,
        Self::RowLock,
        Self::Atomic,
    ];

    /// As in configuration, in headers and in the database.
    pub fn name(self) -> &'static str {
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

    /// What it locks with.
    pub fn lock(self) -> LockKind {
        match self {
            Self::Off | Self::Optimistic | Self::RowLock | Self::Atomic => LockKind::None,
            Self::Redis => LockKind::OneRedis,
            Self::Redlock | Self::RedlockWriteFence | Self::RedlockFenced => LockKind::Redlock,
            Self::EtcdFenced => LockKind::Etcd,
            Self::ZookeeperFenced => LockKind::Zookeeper,
            Self::PostgresAdvisory => LockKind::Advisory,
        }
    }

    /// It registers its token before it reads. Then, and only then, an older
    /// write can be shut out and a write nobody answered can be resolved.
    pub fn claims(self) -> bool {
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

    /// Stock is read before the write and the order decides on what was read.
    /// Where not, the database decides inside the write, and no decision of
    /// ours can sit between the two: the payment is authorised before both.
    pub fn reads(self) -> bool {
        match self {
            Self::Off
            | Self::Redis
            | Self::Redlock
            | Self::RedlockWriteFence
            | Self::RedlockFenced
            | Self::EtcdFenced
            | Self::ZookeeperFenced
            | Self::PostgresAdvisory
            | Self::Optimistic => true,
            Self::RowLock | Self::Atomic => false,
        }
    }

    /// What goes with the write, for the storage to check.
    pub fn proof(self) -> Proof {
        match self {
            Self::Off | Self::Redis | Self::Redlock | Self::PostgresAdvisory | Self::RowLock | Self::Atomic => {
                Proof::Nothing
            }
            Self::Optimistic => Proof::Version,
            Self::RedlockWriteFence | Self::RedlockFenced | Self::EtcdFenced | Self::ZookeeperFenced => Proof::Token,
        }
    }

    /// It may be used where the lab is switched off.
    pub fn safe(self) -> bool {
        match self {
            Self::Off | Self::Redis | Self::Redlock | Self::RedlockWriteFence | Self::PostgresAdvisory => false,
            Self::RedlockFenced
            | Self::EtcdFenced
            | Self::ZookeeperFenced
            | Self::Optimistic
            | Self::RowLock
            | Self::Atomic => true,
        }
    }
}

impl FromStr for Strategy {
    type Err = UnknownStrategy;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        Self::ALL.into_iter().find(|strategy| strategy.name() == name).ok_or_else(|| UnknownStrategy(name.to_owned()))
    }
}

impl fmt::Display for Strategy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_leads_back_to_its_strategy() {
        for strategy in Strategy::ALL {
            assert_eq!(strategy.name().parse(), Ok(strategy));
            assert_eq!(serde_json::json!(strategy), strategy.name());
        }
    }

    #[test]
    fn what_claims_also_sends_its_token() {
        assert!(Strategy::ALL.into_iter().all(|s| !s.claims() || s.proof() == Proof::Token));
    }

    #[test]
    fn what_is_safe_is_checked_by_the_storage_or_decided_there() {
        let checked = |s: Strategy| s.claims() || s.proof() == Proof::Version || !s.reads();
        assert!(Strategy::ALL.into_iter().filter(|s| s.safe()).all(checked));
    }
}
