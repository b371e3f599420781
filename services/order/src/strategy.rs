//! How an order guards stock, as a closed set: what is locked, what is claimed,
//! and whether a write that nobody answered can be resolved. Nothing here talks
//! to anything. A new strategy is one line in each of these matches.

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
}

/// No strategy has this name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("no strategy is called {0:?}")]
pub struct UnknownStrategy(pub String);

impl Strategy {
    /// In the order in which a report lists them.
    pub const ALL: [Self; 5] = [Self::Off, Self::Redis, Self::Redlock, Self::RedlockWriteFence, Self::RedlockFenced];

    /// As in configuration, in headers and in the database.
    pub fn name(self) -> &'static str {
        match self {
            Self::Off => "off",
            Self::Redis => "redis",
            Self::Redlock => "redlock",
            Self::RedlockWriteFence => "redlock-write-fence",
            Self::RedlockFenced => "redlock-fenced",
        }
    }

    /// What it locks with.
    pub fn lock(self) -> LockKind {
        match self {
            Self::Off => LockKind::None,
            Self::Redis => LockKind::OneRedis,
            Self::Redlock | Self::RedlockWriteFence | Self::RedlockFenced => LockKind::Redlock,
        }
    }

    /// It registers its token before it reads. Then, and only then, an older
    /// write can be shut out, a write nobody answered can be resolved, and the
    /// strategy is fit for use outside the lab.
    pub fn claims(self) -> bool {
        match self {
            Self::Off | Self::Redis | Self::Redlock | Self::RedlockWriteFence => false,
            Self::RedlockFenced => true,
        }
    }

    /// Its token goes with the write.
    pub fn sends_token(self) -> bool {
        match self {
            Self::Off | Self::Redis | Self::Redlock => false,
            Self::RedlockWriteFence | Self::RedlockFenced => true,
        }
    }

    /// It may be used where the lab is switched off.
    pub fn safe(self) -> bool {
        self.claims()
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
        assert!(Strategy::ALL.into_iter().all(|s| !s.claims() || s.sends_token()));
    }
}
