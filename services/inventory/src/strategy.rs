//! What inventory has to know of a strategy: what the write checks, and whose tokens it carries.
//! A strategy is one variant here; the compiler names every `match` that has to decide.

use std::{fmt, str::FromStr};

/// How an order guards stock.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize, utoipa::ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Strategy {
    /// No lock, no check.
    Off,
    /// One Redis node, no check.
    Redis,
    /// Redlock, no check.
    Redlock,
    /// Redlock, the textbook check at the write only.
    RedlockWriteFence,
    /// Redlock, claim and write once.
    RedlockFenced,
    /// An etcd lease, claim and write once.
    EtcdFenced,
    /// An ephemeral node of ZooKeeper, claim and write once.
    ZookeeperFenced,
    /// An advisory lock of Postgres, no check.
    PostgresAdvisory,
    /// No lock: only what was observed may have been written last.
    Optimistic,
    /// The row's own lock, read and written in one transaction.
    RowLock,
    /// No lock: one statement takes what is there.
    Atomic,
}

/// What the write checks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WriteCheck {
    /// Nothing: what was computed is written.
    Unfenced,
    /// That nobody wrote with this token or a newer one.
    Textbook,
    /// That the token is the latest claimed, and was not written with.
    Fenced,
    /// That the version is still the observed one.
    Version,
    /// That there is enough, having locked the row.
    RowLock,
    /// That there is enough, in the statement that takes it.
    Guard,
}

/// Whose numbers a token belongs to; they do not compare.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TokenSource {
    /// Counters on the Redis nodes.
    Redlock,
    /// Revisions of etcd.
    Etcd,
    /// Transaction ids of ZooKeeper.
    Zookeeper,
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

    /// As in headers and in the database.
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

    /// What its write checks.
    pub const fn check(self) -> WriteCheck {
        match self {
            Self::Off | Self::Redis | Self::Redlock | Self::PostgresAdvisory => WriteCheck::Unfenced,
            Self::RedlockWriteFence => WriteCheck::Textbook,
            Self::RedlockFenced | Self::EtcdFenced | Self::ZookeeperFenced => WriteCheck::Fenced,
            Self::Optimistic => WriteCheck::Version,
            Self::RowLock => WriteCheck::RowLock,
            Self::Atomic => WriteCheck::Guard,
        }
    }

    /// Whose tokens it carries; `None` for a strategy without tokens.
    pub const fn token_source(self) -> Option<TokenSource> {
        match self {
            Self::RedlockWriteFence | Self::RedlockFenced => Some(TokenSource::Redlock),
            Self::EtcdFenced => Some(TokenSource::Etcd),
            Self::ZookeeperFenced => Some(TokenSource::Zookeeper),
            Self::Off
            | Self::Redis
            | Self::Redlock
            | Self::PostgresAdvisory
            | Self::Optimistic
            | Self::RowLock
            | Self::Atomic => None,
        }
    }

    /// It registers its token before it reads.
    pub const fn claims(self) -> bool {
        matches!(self.check(), WriteCheck::Fenced)
    }

    /// It may be used where the lab is switched off.
    pub const fn is_safe(self) -> bool {
        match self.check() {
            WriteCheck::Unfenced | WriteCheck::Textbook => false,
            WriteCheck::Fenced | WriteCheck::Version | WriteCheck::RowLock | WriteCheck::Guard => true,
        }
    }
}

impl WriteCheck {
    /// As the SQL function `reserve` calls it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Unfenced => "unfenced",
            Self::Textbook => "textbook",
            Self::Fenced => "fenced",
            Self::Version => "version",
            Self::RowLock => "row-lock",
            Self::Guard => "guard",
        }
    }

    /// The write is computed from the units that were observed.
    pub const fn writes_computed_value(self) -> bool {
        match self {
            Self::Unfenced | Self::Textbook | Self::Fenced => true,
            Self::Version | Self::RowLock | Self::Guard => false,
        }
    }
}

impl TokenSource {
    /// As in `stock.token_source`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Redlock => "redlock",
            Self::Etcd => "etcd",
            Self::Zookeeper => "zookeeper",
        }
    }
}

impl FromStr for Strategy {
    type Err = UnknownStrategy;

    fn from_str(name: &str) -> Result<Self, UnknownStrategy> {
        let named = Self::ALL.into_iter().find(|strategy| strategy.name() == name);
        named.ok_or_else(|| UnknownStrategy(name.to_owned()))
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
            assert_eq!(serde_json::to_value(strategy).expect("JSON"), strategy.name());
        }
    }

    #[test]
    fn what_claims_has_tokens() {
        assert!(Strategy::ALL.into_iter().all(|s| !s.claims() || s.token_source().is_some()));
    }

    #[test]
    fn those_that_never_oversell_are_safe_and_no_others() {
        let safe: Vec<_> = Strategy::ALL.into_iter().filter(|s| s.is_safe()).map(Strategy::name).collect();
        assert_eq!(safe, ["redlock-fenced", "etcd-fenced", "zookeeper-fenced", "optimistic", "row-lock", "atomic"]);
    }
}
