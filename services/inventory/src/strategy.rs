//! What inventory has to know of a strategy: what the write checks, and whose tokens it carries.
//! A strategy is one variant here; the compiler names every `match` that has to decide.

use std::{fmt, str::FromStr};

/// How an order guards stock.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
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
}

/// What the write checks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Check {
    /// Nothing: what was computed is written.
    Unfenced,
    /// That nobody wrote with this token or a newer one.
    Textbook,
    /// That the token is the latest claimed, and was not written with.
    Fenced,
}

/// Whose numbers a token belongs to; they do not compare.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TokenSource {
    /// Counters on the Redis nodes.
    Redlock,
}

/// No strategy has this name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("no strategy is called {0:?}")]
pub struct UnknownStrategy(pub String);

impl Strategy {
    /// In the order in which a report lists them.
    pub const ALL: [Self; 5] = [Self::Off, Self::Redis, Self::Redlock, Self::RedlockWriteFence, Self::RedlockFenced];

    /// As in headers and in the database.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Off => "off",
            Self::Redis => "redis",
            Self::Redlock => "redlock",
            Self::RedlockWriteFence => "redlock-write-fence",
            Self::RedlockFenced => "redlock-fenced",
        }
    }

    /// What its write checks.
    pub const fn check(self) -> Check {
        match self {
            Self::Off | Self::Redis | Self::Redlock => Check::Unfenced,
            Self::RedlockWriteFence => Check::Textbook,
            Self::RedlockFenced => Check::Fenced,
        }
    }

    /// Whose tokens it carries; `None` for a strategy without tokens.
    pub const fn tokens(self) -> Option<TokenSource> {
        match self {
            Self::Off | Self::Redis | Self::Redlock => None,
            Self::RedlockWriteFence | Self::RedlockFenced => Some(TokenSource::Redlock),
        }
    }

    /// It registers its token before it reads.
    pub const fn claims(self) -> bool {
        matches!(self.check(), Check::Fenced)
    }

    /// It may be used where the lab is switched off.
    pub const fn safe(self) -> bool {
        matches!(self.check(), Check::Fenced)
    }
}

impl Check {
    /// As the SQL function `reserve` calls it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Unfenced => "unfenced",
            Self::Textbook => "textbook",
            Self::Fenced => "fenced",
        }
    }
}

impl TokenSource {
    /// As in `stock.token_source`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Redlock => "redlock",
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
        }
    }

    #[test]
    fn what_claims_has_tokens() {
        assert!(Strategy::ALL.into_iter().all(|s| !s.claims() || s.tokens().is_some()));
    }
}
